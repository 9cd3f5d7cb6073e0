// SPDX-License-Identifier: MIT
/*
 * What mac-address.c uses of U-Boot, so that it compiles for the machine of the
 * tests. Every header that it includes is this one.
 */
#ifndef DOUBLE_H
#define DOUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef int ofnode;

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define ARP_HLEN 6
#define SHA256_SUM_LEN 32
#define CHUNKSZ_SHA256 65536

/* As U-Boot's printf, which prints an address by %pM. */
#define printf say
void say(const char *format, int number, const u8 *address, const char *source);

/* The device tree */
enum { NOWHERE, FLASH, OTP, EEPROM, EEPROM_CELL, CELLS };

ofnode ofnode_null(void);
bool ofnode_valid(ofnode node);
ofnode ofnode_by_compatible(ofnode from, const char *compatible);
ofnode ofnode_get_aliases_node(const char *name);
ofnode ofnode_get_parent(ofnode node);
const char *ofnode_get_name(ofnode node);
int ofnode_read_u32(ofnode node, const char *name, u32 *value);
const void *ofnode_get_property(ofnode node, const char *name, int *length);
ofnode ofnode_first_subnode(ofnode node);
ofnode ofnode_next_subnode(ofnode node);

#define ofnode_for_each_subnode(node, parent)                        \
	for (node = ofnode_first_subnode(parent); ofnode_valid(node); \
	     node = ofnode_next_subnode(node))

/* The flash */
#define UCLASS_SPI_FLASH 1
#define UCLASS_I2C_EEPROM 2

struct udevice {
	ofnode node;
};

struct uclass {
	int unused;
};

struct spi_slave {
	int unused;
};

struct spi_mem_op {
	struct {
		u8 nbytes, buswidth, opcode;
	} cmd;
	struct {
		u8 nbytes, buswidth;
		u32 val;
	} addr;
	struct {
		u8 nbytes, buswidth;
	} dummy;
	struct {
		u8 buswidth;
		unsigned int nbytes;
		void *in;
	} data;
};

#define SPI_MEM_OP(...) { __VA_ARGS__ }
#define SPI_MEM_OP_CMD(code, lines) { 1, lines, code }
#define SPI_MEM_OP_ADDR(bytes, value, lines) { bytes, lines, value }
#define SPI_MEM_OP_NO_ADDR { 0, 0, 0 }
#define SPI_MEM_OP_DUMMY(bytes, lines) { bytes, lines }
#define SPI_MEM_OP_NO_DUMMY { 0, 0 }
#define SPI_MEM_OP_DATA_IN(bytes, to, lines) { lines, bytes, to }

int uclass_get_device_by_ofnode(int uclass, ofnode node, struct udevice **device);
void *dev_get_parent_priv(struct udevice *device);
int spi_mem_exec_op(struct spi_slave *flash, const struct spi_mem_op *op);

/* The EEPROM, the only one */
#define uclass_id_foreach_dev(id, device, class)                     \
	for (class = NULL, device = eeprom_of(id); device && !class; \
	     class = (struct uclass *)device)

struct udevice *eeprom_of(int uclass);
ofnode dev_ofnode(struct udevice *device);
int device_probe(struct udevice *device);
int i2c_eeprom_read(struct udevice *device, int place, u8 *to, int length);

/* The card */
struct mmc {
	unsigned int cid[4];
};

struct mmc *find_mmc_device(int number);
int mmc_init(struct mmc *card);
void sha256_csum_wd(const u8 *input, unsigned int length, u8 *output, unsigned int chunk);

/* The network */
bool is_valid_ethaddr(const u8 *address);
bool eth_env_get_enetaddr_by_index(const char *base, int number, u8 *address);
int eth_env_set_enetaddr_by_index(const char *base, int number, u8 *address);

int misc_init_r(void);

#endif
