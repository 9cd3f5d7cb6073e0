// SPDX-License-Identifier: GPL-2.0
/*
 * ULPI transceivers that switch the power of a USB port
 *
 * The transceiver (PHY) is accessed through the viewport register of its
 * controller. The device-tree node is that of AMD's kernels; mainline kernels
 * do not have their driver:
 *
 * compatible
 *	"ulpi-phy"
 * reg
 *	The registers of the controller.
 * view-port
 *	The offset of the viewport register in them.
 * drv-vbus, or external-drv-vbus as later kernels of AMD's call it
 *	The transceiver switches the port's supply: it is on while the controller
 *	is a host, by the bits DrvVbus and DrvVbusExternal of ULPI's OTG control.
 * reset-gpios
 *	The transceiver's reset, which is pulsed once. AMD's driver does not have
 *	this property and relies on the first stage for the reset.
 */

#include <linux/bits.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/gpio/consumer.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/slab.h>
#include <linux/usb/phy.h>
#include <linux/usb/ulpi.h>

#define ULPI_OTG_CTRL_VBUS \
	(ULPI_OTG_CTRL_DRVVBUS | ULPI_OTG_CTRL_DRVVBUS_EXT)

/**
 * struct ulpi_phy - a transceiver
 * @init: the kernel's function that sets the transceiver's registers
 */
struct ulpi_phy {
	int (*init)(struct usb_phy *phy);
};

/*
 * A controller can send and receive without the registers. So a transceiver whose
 * registers cannot be accessed works as without a driver: a device with its own
 * power supply still works.
 */
static int ulpi_phy_init(struct usb_phy *phy)
{
	struct ulpi_phy *ulpi = dev_get_drvdata(phy->dev);
	int ret;

	ret = ulpi->init(phy);
	if (ret)
		dev_warn(phy->dev,
			 "no access to the transceiver's registers: %pe\n",
			 ERR_PTR(ret));

	return 0;
}

/* The registers at these two addresses set and clear single bits. */
static int ulpi_phy_set_vbus(struct usb_phy *phy, int on)
{
	u32 reg = on ? ULPI_SET(ULPI_OTG_CTRL) : ULPI_CLR(ULPI_OTG_CTRL);

	return usb_phy_io_write(phy, ULPI_OTG_CTRL_VBUS, reg);
}

/* Done before the controller starts, which needs the transceiver's clock. */
static int ulpi_phy_reset(struct device *dev)
{
	struct gpio_desc *reset;

	reset = devm_gpiod_get_optional(dev, "reset", GPIOD_OUT_HIGH);
	if (IS_ERR(reset))
		return dev_err_probe(dev, PTR_ERR(reset),
				     "cannot get the reset line\n");
	if (!reset)
		return 0;

	/* Same delay as phy-generic.c; then 5.6 ms for the clock (ULPI 1.1). */
	usleep_range(10000, 20000);
	gpiod_set_value_cansleep(reset, 0);
	usleep_range(6000, 10000);

	return 0;
}

static void __iomem *ulpi_phy_viewport(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct resource *res;
	void __iomem *view;
	u32 offset;
	int ret;

	res = platform_get_resource(pdev, IORESOURCE_MEM, 0);
	if (!res)
		return IOMEM_ERR_PTR(dev_err_probe(dev, -EINVAL, "no reg\n"));

	ret = device_property_read_u32(dev, "view-port", &offset);
	if (ret)
		return IOMEM_ERR_PTR(dev_err_probe(dev, ret, "no view-port\n"));
	if (offset % sizeof(u32) || resource_size(res) < sizeof(u32) ||
	    offset > resource_size(res) - sizeof(u32))
		return IOMEM_ERR_PTR(dev_err_probe(dev, -EINVAL,
						   "view-port %#x is not in %pR\n",
						   offset, res));

	/* Not requested: the registers belong to the controller's driver. */
	view = devm_ioremap(dev, res->start + offset, sizeof(u32));

	return view ?: IOMEM_ERR_PTR(-ENOMEM);
}

static void ulpi_phy_remove(void *phy)
{
	usb_remove_phy(phy);
}

static int ulpi_phy_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	unsigned int flags = 0;
	struct ulpi_phy *ulpi;
	struct usb_phy *phy;
	void __iomem *view;
	bool vbus;
	int ret;

	ulpi = devm_kzalloc(dev, sizeof(*ulpi), GFP_KERNEL);
	if (!ulpi)
		return -ENOMEM;

	view = ulpi_phy_viewport(pdev);
	if (IS_ERR(view))
		return PTR_ERR(view);

	ret = ulpi_phy_reset(dev);
	if (ret)
		return ret;

	vbus = device_property_read_bool(dev, "drv-vbus") ||
	       device_property_read_bool(dev, "external-drv-vbus");
	if (vbus)
		flags = ULPI_OTG_DRVVBUS | ULPI_OTG_DRVVBUS_EXT;

	phy = devm_otg_ulpi_create(dev, &ulpi_viewport_access_ops, flags);
	if (!phy)
		return -ENOMEM;

	ulpi->init = phy->init;
	platform_set_drvdata(pdev, ulpi);

	phy->dev = dev;
	phy->io_priv = view;
	phy->type = USB_PHY_TYPE_USB2;
	phy->init = ulpi_phy_init;
	if (vbus)
		phy->set_vbus = ulpi_phy_set_vbus;

	ret = usb_add_phy_dev(phy);
	if (ret)
		return dev_err_probe(dev, ret, "cannot add the transceiver\n");

	return devm_add_action_or_reset(dev, ulpi_phy_remove, phy);
}

static const struct of_device_id ulpi_phy_of_match[] = {
	{ .compatible = "ulpi-phy" },
	{ }
};
MODULE_DEVICE_TABLE(of, ulpi_phy_of_match);

static struct platform_driver ulpi_phy_driver = {
	.probe = ulpi_phy_probe,
	.driver = {
		.name = "ulpi-phy",
		.of_match_table = ulpi_phy_of_match,
		/* A controller has a reference to the module, not to the device. */
		.suppress_bind_attrs = true,
	},
};
module_platform_driver(ulpi_phy_driver);

MODULE_DESCRIPTION("ULPI transceivers that switch the power of a USB port");
MODULE_AUTHOR("The developers of zynq-sd-builder");
MODULE_LICENSE("GPL");
