// SPDX-License-Identifier: MIT
/*
 * A board on which mac-address.c runs: the words of the command line say what it
 * has, and each address that is set becomes a line of the output.
 *
 *	flash=MAKER:HEX		a part, and its OTP from its first address on
 *	cell=PLACE		a node mac-address@PLACE in the tree's OTP
 *	eeprom=HEX		an EEPROM with a node mac-address@20, and what is there
 *	alias=NAME		an alias of the tree
 *	property=NAME		a property of the nodes of the networks
 *	card=HEX		the card's CID
 *	set=NUMBER		a network whose address is set already
 *
 * The digest of a message is 0xfd and the message itself, its last byte first.
 */
#include "double.h"
#undef printf
#include <stdlib.h>

static char **words;

/* The value of the number-th word of a kind; NULL if there are not so many. */
static const char *word(const char *kind, int number)
{
	size_t length = strlen(kind);

	for (char **at = words; *at; at++)
		if (!strncmp(*at, kind, length) && (*at)[length] == '=' && !number--)
			return *at + length + 1;
	return NULL;
}

static bool has(const char *kind, const char *value)
{
	const char *found;

	for (int number = 0; (found = word(kind, number)); number++)
		if (!strcmp(found, value))
			return true;
	return false;
}

static u8 hex(const char *text, size_t index)
{
	char digits[3] = { text[2 * index], text[2 * index + 1], 0 };

	return strtoul(digits, NULL, 16);
}

/* The device tree: the nodes FLASH and OTP, CELLS and the numbers after it, and networks from 100 on. */

ofnode ofnode_null(void)
{
	return NOWHERE;
}

bool ofnode_valid(ofnode node)
{
	return node != NOWHERE;
}

ofnode ofnode_by_compatible(ofnode from, const char *compatible)
{
	(void)from;
	return !strcmp(compatible, "user-otp") && word("cell", 0) ? OTP : NOWHERE;
}

ofnode ofnode_get_aliases_node(const char *name)
{
	return has("alias", name) ? 100 : NOWHERE;
}

ofnode ofnode_get_parent(ofnode node)
{
	return node == OTP ? FLASH : NOWHERE;
}

const char *ofnode_get_name(ofnode node)
{
	static char name[40];

	if (node == EEPROM_CELL)
		return "mac-address@20";
	snprintf(name, sizeof(name), "mac-address@%s", word("cell", node - CELLS));
	return name;
}

int ofnode_read_u32(ofnode node, const char *name, u32 *value)
{
	*value = node == EEPROM_CELL ? 0x20 : strtoul(word("cell", node - CELLS), NULL, 16);
	return strcmp(name, "reg");
}

const void *ofnode_get_property(ofnode node, const char *name, int *length)
{
	(void)length;
	return node == 100 && has("property", name) ? name : NULL;
}

ofnode ofnode_first_subnode(ofnode node)
{
	return node == OTP ? CELLS : node == EEPROM ? EEPROM_CELL : NOWHERE;
}

ofnode ofnode_next_subnode(ofnode node)
{
	return node >= CELLS && word("cell", node + 1 - CELLS) ? node + 1 : NOWHERE;
}

/* The flash, as its maker describes its commands. */

int uclass_get_device_by_ofnode(int uclass, ofnode node, struct udevice **device)
{
	static struct udevice flash;

	*device = &flash;
	return uclass != UCLASS_SPI_FLASH || node != FLASH || !word("flash", 0);
}

void *dev_get_parent_priv(struct udevice *device)
{
	static struct spi_slave slave;

	(void)device;
	return &slave;
}

/* What a part has to say to an operation from this byte on, counted from the command. */
static u8 answer(u8 maker, u8 command, u32 address, size_t at)
{
	const char *otp = strchr(word("flash", 0), ':') + 1;
	u32 first = maker == 0xef ? 0x1000 : 0;
	size_t index;

	if (command == 0x9f)
		return at == 1 ? maker : 0x18;
	if (command == 0x4b && maker == 0xef) /* "Read Unique ID": four dummy bytes */
		return at < 5 ? 0 : 0xd0 + 2 * at;
	if (command != (maker == 0xef ? 0x48 : 0x4b) || at < 5)
		return 0; /* three bytes of address, one dummy byte */
	index = address - first + at - 5;
	return 2 * index < strlen(otp) ? hex(otp, index) : 0xff;
}

int spi_mem_exec_op(struct spi_slave *flash, const struct spi_mem_op *op)
{
	u8 maker = strtoul(word("flash", 0), NULL, 16);
	size_t sent = op->cmd.nbytes + op->addr.nbytes + op->dummy.nbytes;
	bool plain = op->cmd.buswidth == 1 && op->addr.buswidth <= 1 &&
		     op->dummy.buswidth <= 1 && op->data.buswidth == 1;

	(void)flash;
	if (!plain)
		return -1;
	for (unsigned int i = 0; i < op->data.nbytes; i++)
		((u8 *)op->data.in)[i] = answer(maker, op->cmd.opcode, op->addr.val, sent + i);
	return 0;
}

/* The EEPROM */

struct udevice *eeprom_of(int uclass)
{
	static struct udevice eeprom = { EEPROM };

	return uclass == UCLASS_I2C_EEPROM && word("eeprom", 0) ? &eeprom : NULL;
}

ofnode dev_ofnode(struct udevice *device)
{
	return device->node;
}

int device_probe(struct udevice *device)
{
	return device->node != EEPROM;
}

int i2c_eeprom_read(struct udevice *device, int place, u8 *to, int length)
{
	const char *content = word("eeprom", 0);

	if (device->node != EEPROM || place != 0x20 || !*content)
		return -1; /* it does not answer */
	for (int i = 0; i < length; i++)
		to[i] = hex(content, i);
	return 0;
}

/* The card */

struct mmc *find_mmc_device(int number)
{
	static struct mmc card;
	const char *cid = word("card", 0);

	if (number || !cid)
		return NULL;
	for (int i = 0; i < 16; i++)
		card.cid[i / 4] = card.cid[i / 4] << 8 | hex(cid, i);
	return &card;
}

int mmc_init(struct mmc *card)
{
	return !card;
}

void sha256_csum_wd(const u8 *input, unsigned int length, u8 *output, unsigned int chunk)
{
	(void)chunk;
	memset(output, 0, SHA256_SUM_LEN);
	output[0] = 0xfd;
	for (unsigned int i = 1; i <= length; i++)
		output[i] = input[length - i];
}

/* The network */

bool is_valid_ethaddr(const u8 *address)
{
	static const u8 zero[ARP_HLEN];

	return !(address[0] & 1) && memcmp(address, zero, ARP_HLEN);
}

bool eth_env_get_enetaddr_by_index(const char *base, int number, u8 *address)
{
	char digits[2] = { '0' + number, 0 };

	memset(address, 0, ARP_HLEN);
	return !strcmp(base, "eth") && has("set", digits);
}

int eth_env_set_enetaddr_by_index(const char *base, int number, u8 *address)
{
	printf("%s%d", base, number);
	for (int i = 0; i < ARP_HLEN; i++)
		printf("%c%02x", i ? ':' : ' ', address[i]);
	printf("\n");
	return 0;
}

void say(const char *format, int number, const u8 *address, const char *source)
{
	(void)format;
	(void)number;
	(void)address;
	fprintf(stderr, "%s\n", source);
}

int main(int count, char **given)
{
	(void)count;
	words = given + 1;
	return misc_init_r();
}
