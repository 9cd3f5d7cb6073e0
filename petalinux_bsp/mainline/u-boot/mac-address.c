// SPDX-License-Identifier: GPL-2.0-or-later OR MIT
/*
 * Sets the MAC address of a board: the builder's U-Boot stores no environment
 * that could contain it. U-Boot calls misc_init_r() before it initializes its
 * network, and passes the address to Linux in the device tree
 * (fdt_fixup_ethernet), so both have the same one.
 *
 * The address is read from the cells `mac-address` of the device tree: in an
 * EEPROM on I2C, or in the one-time programmable area (OTP) of the SPI flash:
 *
 *	flash@0 {
 *		otp {
 *			compatible = "user-otp";
 *			#address-cells = <1>;
 *			#size-cells = <1>;
 *			mac-address@20 {
 *				reg = <0x20 6>;
 *			};
 *		};
 *	};
 *
 * These are Linux' bindings (nvmem.yaml, mtd.yaml). Linux itself does not read
 * the cells: it has no driver for the OTP of these parts, and if an EEPROM did not
 * answer, it would wait for the EEPROM and have no network. A board may have
 * several cells, if it is built with parts of several manufacturers.
 *
 * If there is no valid address, and the tree has no other source from which
 * U-Boot or Linux take one, it is derived from the identity of the card. So two
 * boards with the same image have different addresses.
 */
#if __has_include(<common.h>)
#include <common.h>	/* headers of U-Boot before 2024.07 need it */
#endif
#include <dm.h>
#include <i2c_eeprom.h>
#include <init.h>
#include <mmc.h>
#include <net.h>
#include <spi.h>
#include <spi-mem.h>
#include <stdio.h>
#include <string.h>
#include <dm/device-internal.h>
#include <dm/ofnode.h>
#include <u-boot/sha256.h>

#define READ_ID		0x9f
#define CID_BYTES	16
/* Ethernet controllers of a Zynq UltraScale+; a Zynq-7000 has two. */
#define NETWORKS	4
/* U-Boot's alias of the first EEPROM in AMD's format, which contains addresses. */
#define AMD_EEPROM	"nvmem0"

/*
 * Flash parts by the first byte of their identity, with the command that reads
 * the OTP and the OTP's range of addresses. All take three address bytes and one
 * dummy byte on one line: without the dummy byte, a zero would come first and the
 * last byte of the MAC address would be lost.
 *
 * Winbond's 0x4b is another command, "Read Unique ID", which returns eight bytes
 * that could be taken for an address. So the manufacturer is checked.
 */
static const struct part {
	u8 maker;
	u8 read_otp;
	u32 first;
	u32 end;
} parts[] = {
	/* Spansion: S25FL128S/S25FL256S, "OTP Read" */
	{ 0x01, 0x4b, 0, 0x400 },
	/* Micron: N25Q128A/MT25QL128, "Read OTP Array" */
	{ 0x20, 0x4b, 0, 0x40 },
	/* Winbond: W25Q128JV, "Read Security Registers", three of 256 bytes */
	{ 0xef, 0x48, 0x1000, 0x3100 },
};

static const struct part *part_of(struct spi_slave *flash)
{
	u8 id[3];
	struct spi_mem_op op = SPI_MEM_OP(SPI_MEM_OP_CMD(READ_ID, 1),
					  SPI_MEM_OP_NO_ADDR,
					  SPI_MEM_OP_NO_DUMMY,
					  SPI_MEM_OP_DATA_IN(sizeof(id), id, 1));
	unsigned int i;

	if (spi_mem_exec_op(flash, &op))
		return NULL;
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].maker == id[0])
			return &parts[i];
	return NULL;
}

static bool read_otp(struct spi_slave *flash, const struct part *part,
		     u32 place, u8 *address)
{
	struct spi_mem_op op = SPI_MEM_OP(SPI_MEM_OP_CMD(part->read_otp, 1),
					  SPI_MEM_OP_ADDR(3, place, 1),
					  SPI_MEM_OP_DUMMY(1, 1),
					  SPI_MEM_OP_DATA_IN(ARP_HLEN, address, 1));

	if (place < part->first || place > part->end - ARP_HLEN)
		return false;
	/* An unprogrammed part returns ones, QEMU's model returns zeros. */
	return !spi_mem_exec_op(flash, &op) && is_valid_ethaddr(address);
}

static bool is_address(ofnode cell, u32 *place)
{
	return !strncmp(ofnode_get_name(cell), "mac-address", 11) &&
	       !ofnode_read_u32(cell, "reg", place);
}

static bool from_flash(u8 *address)
{
	ofnode otp = ofnode_by_compatible(ofnode_null(), "user-otp"), cell;
	const struct part *part;
	struct spi_slave *flash;
	struct udevice *dev;
	u32 place;

	if (!ofnode_valid(otp) ||
	    uclass_get_device_by_ofnode(UCLASS_SPI_FLASH, ofnode_get_parent(otp), &dev))
		return false;
	flash = dev_get_parent_priv(dev);
	part = part_of(flash);
	if (!part)
		return false;
	ofnode_for_each_subnode(cell, otp)
		if (is_address(cell, &place) && read_otp(flash, part, place, address))
			return true;
	return false;
}

static bool from_eeprom(u8 *address)
{
	struct udevice *dev;
	struct uclass *uc;
	ofnode cell;
	u32 place;

	uclass_id_foreach_dev(UCLASS_I2C_EEPROM, dev, uc) {
		ofnode_for_each_subnode(cell, dev_ofnode(dev))
			if (is_address(cell, &place) && !device_probe(dev) &&
			    !i2c_eeprom_read(dev, place, address, ARP_HLEN) &&
			    is_valid_ethaddr(address))
				return true;
	}
	return false;
}

/* Whether U-Boot or Linux find the address of a network controller themselves. */
static bool elsewhere(ofnode network)
{
	static const char * const properties[] = {
		"mac-address", "local-mac-address", "nvmem-cells",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(properties); i++)
		if (ofnode_get_property(network, properties[i], NULL))
			return true;
	return ofnode_valid(ofnode_get_aliases_node(AMD_EEPROM));
}

/* The first bytes of SHA-256 over the card's CID and the number of the network. */
static bool from_card(u8 number, u8 *address)
{
	u8 identity[CID_BYTES + 1], digest[SHA256_SUM_LEN];
	struct mmc *card = find_mmc_device(0);
	unsigned int i;

	if (!card || mmc_init(card))
		return false;
	/* In the byte order of Linux (`cid` of the card in sysfs). */
	for (i = 0; i < CID_BYTES; i++)
		identity[i] = card->cid[i / 4] >> (24 - 8 * (i % 4));
	identity[CID_BYTES] = number;
	sha256_csum_wd(identity, sizeof(identity), digest, CHUNKSZ_SHA256);
	memcpy(address, digest, ARP_HLEN);
	/* A unicast and locally administered address. */
	address[0] = (address[0] & ~1) | 2;
	return true;
}

int misc_init_r(void)
{
	char alias[] = "ethernet0";
	u8 address[ARP_HLEN];
	const char *source;
	ofnode network;
	int number;

	for (number = 0; number < NETWORKS; number++) {
		alias[sizeof(alias) - 2] = '0' + number;
		network = ofnode_get_aliases_node(alias);
		if (!ofnode_valid(network) ||
		    eth_env_get_enetaddr_by_index("eth", number, address))
			continue;
		if (!number && from_flash(address))
			source = "out of the flash";
		else if (!number && from_eeprom(address))
			source = "out of the EEPROM";
		else if (!elsewhere(network) && from_card(number, address))
			source = "made up from the card's identity";
		else
			continue;
		eth_env_set_enetaddr_by_index("eth", number, address);
		printf("MAC:   eth%d %pM, %s\n", number, address, source);
	}
	return 0;	/* any other value stops U-Boot */
}
