// SPDX-License-Identifier: GPL-2.0
/*
 * Test of ulpi-phy on a board that QEMU emulates
 *
 * Loading the module runs the test, and fails if a check fails; the kernel's log
 * has the details. The module is never loaded automatically.
 *
 * QEMU's controller has a viewport register, but no transceiver: the register
 * keeps its value. So this module provides the transceiver's registers, as those
 * of an SMSC USB3320.
 */

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/usb/phy.h>
#include <linux/usb/ulpi.h>

#define PULLDOWNS \
	(ULPI_OTG_CTRL_DP_PULLDOWN | ULPI_OTG_CTRL_DM_PULLDOWN)
#define VBUS \
	(ULPI_OTG_CTRL_DRVVBUS | ULPI_OTG_CTRL_DRVVBUS_EXT)

/* SMSC's vendor number is 0x0424, the product number of the USB3320 0x0007. */
static u8 registers[256] = {
	[ULPI_VENDOR_ID_LOW] = 0x24,
	[ULPI_VENDOR_ID_HIGH] = 0x04,
	[ULPI_PRODUCT_ID_LOW] = 0x07,
};

static int read_register(struct usb_phy *phy, u32 reg)
{
	return reg < ARRAY_SIZE(registers) ? registers[reg] : -EINVAL;
}

/* Each register has two more addresses, to set and to clear single bits. */
static int write_register(struct usb_phy *phy, u32 value, u32 reg)
{
	static const u8 writable[] = {
		ULPI_FUNC_CTRL, ULPI_IFC_CTRL, ULPI_OTG_CTRL, ULPI_SCRATCH,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(writable); i++) {
		if (reg == writable[i])
			registers[writable[i]] = value;
		else if (reg == ULPI_SET(writable[i]))
			registers[writable[i]] |= value;
		else if (reg == ULPI_CLR(writable[i]))
			registers[writable[i]] &= ~value;
		else
			continue;
		return 0;
	}

	return -EINVAL;
}

static struct usb_phy_io_ops transceiver = {
	.read = read_register,
	.write = write_register,
};

static bool held(bool condition, const char *what)
{
	if (!condition)
		pr_err("ulpi-phy-test: %s; OTG control is %#04x\n", what,
		       registers[ULPI_OTG_CTRL]);

	return condition;
}

/* A transceiver that does not answer must not disable USB. */
static bool goes_on_without_answers(struct usb_phy *phy)
{
	bool passed;

	passed = held(!usb_phy_init(phy), "init failed without an answer");
	passed &= held(usb_phy_vbus_on(phy) == -ETIMEDOUT,
		       "VBUS on did not say that there was no answer");

	return passed;
}

static bool switches_vbus(struct usb_phy *phy)
{
	bool passed;

	passed = held(!usb_phy_init(phy), "init failed");
	passed &= held(registers[ULPI_OTG_CTRL] == PULLDOWNS,
		       "init did not set the pull-downs alone");
	passed &= held(registers[ULPI_FUNC_CTRL] & ULPI_FUNC_CTRL_SUSPENDM,
		       "init left the transceiver suspended");
	passed &= held(!usb_phy_vbus_on(phy), "VBUS on failed");
	passed &= held(registers[ULPI_OTG_CTRL] == (PULLDOWNS | VBUS),
		       "VBUS on did not set the bits of VBUS alone");
	passed &= held(!usb_phy_vbus_off(phy), "VBUS off failed");
	passed &= held(registers[ULPI_OTG_CTRL] == PULLDOWNS,
		       "VBUS off did not clear the bits of VBUS alone");

	return passed;
}

static int __init ulpi_phy_test_init(void)
{
	struct usb_phy *phy;
	bool passed;

	if (!of_property_read_bool(of_chosen, "emulated-by"))
		return -EPERM;

	phy = usb_get_phy(USB_PHY_TYPE_USB2);
	if (IS_ERR(phy))
		return PTR_ERR(phy);
	if (phy->io_ops != &ulpi_viewport_access_ops) {
		usb_put_phy(phy);
		return -ENODEV;
	}

	passed = goes_on_without_answers(phy);
	phy->io_ops = &transceiver;
	passed &= switches_vbus(phy);
	phy->io_ops = &ulpi_viewport_access_ops;

	usb_put_phy(phy);
	if (passed)
		pr_info("ulpi-phy-test: passed\n");

	return passed ? 0 : -EIO;
}
module_init(ulpi_phy_test_init);

static void __exit ulpi_phy_test_exit(void)
{
}
module_exit(ulpi_phy_test_exit);

MODULE_DESCRIPTION("Test of ulpi-phy on a board that QEMU emulates");
MODULE_AUTHOR("The developers of zynq-sd-builder");
MODULE_LICENSE("GPL");
