// SPDX-License-Identifier: GPL-2.0
/*
 * Loading of FPGA images from user space, by name
 *
 * Adds two attributes to every FPGA manager, /sys/class/fpga_manager/fpgaN/:
 *
 * flags (read, write)
 *	Options for the next load, in hexadecimal: the flags of struct
 *	fpga_image_info. 0 loads the whole device, 1 a part of it.
 *
 * firmware (write)
 *	The name of a file below the firmware search path. Writing it loads that
 *	file. The write returns when the load has ended, with its result.
 *
 * AMD's kernels have attributes of the same names and meaning.
 */

#include <linux/device.h>
#include <linux/fpga/fpga-mgr.h>
#include <linux/kernel.h>
#include <linux/kernfs.h>
#include <linux/kstrtox.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/version.h>

/**
 * struct load_options - options of one manager
 * @flags: flags of the next load
 */
struct load_options {
	u32 flags;
};

static void load_options_release(struct device *dev, void *res)
{
}

static struct load_options *load_options_of(struct device *dev)
{
	return devres_find(dev, load_options_release, NULL, NULL);
}

static ssize_t flags_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct load_options *options = load_options_of(dev);

	return sysfs_emit(buf, "%x\n", READ_ONCE(options->flags));
}

static ssize_t flags_store(struct device *dev, struct device_attribute *attr,
			   const char *buf, size_t count)
{
	struct load_options *options = load_options_of(dev);
	u32 flags;
	int ret;

	ret = kstrtou32(buf, 16, &flags);
	if (ret)
		return ret;

	WRITE_ONCE(options->flags, flags);

	return count;
}
static DEVICE_ATTR_RW(flags);

static int load_image(struct fpga_manager *mgr, const char *name, u32 flags)
{
	struct fpga_image_info *info;
	int ret;

	info = fpga_image_info_alloc(&mgr->dev);
	if (!info)
		return -ENOMEM;

	info->flags = flags;
	info->firmware_name = devm_kstrdup(&mgr->dev, name, GFP_KERNEL);
	if (!info->firmware_name) {
		ret = -ENOMEM;
		goto free_info;
	}

	ret = fpga_mgr_lock(mgr);
	if (ret)
		goto free_info;

	ret = fpga_mgr_load(mgr, info);
	fpga_mgr_unlock(mgr);

free_info:
	fpga_image_info_free(info);
	return ret;
}

static ssize_t firmware_store(struct device *dev, struct device_attribute *attr,
			      const char *buf, size_t count)
{
	struct load_options *options = load_options_of(dev);
	char *copy, *name;
	int ret;

	copy = kstrndup(buf, count, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;

	name = strim(copy);
	if (!*name) {
		ret = -EINVAL;
		goto free_copy;
	}
	if (strlen(name) > NAME_MAX) {
		ret = -ENAMETOOLONG;
		goto free_copy;
	}

	ret = load_image(to_fpga_manager(dev), name, READ_ONCE(options->flags));

free_copy:
	kfree(copy);
	return ret ?: count;
}
static DEVICE_ATTR_WO(firmware);

static struct attribute *load_attrs[] = {
	&dev_attr_firmware.attr,
	&dev_attr_flags.attr,
	NULL
};

static const struct attribute_group load_group = {
	.attrs = load_attrs,
};

/* AMD's kernels already have the attributes: do not replace them. */
static bool has_attributes(struct device *dev)
{
	struct kernfs_node *node;

	node = kernfs_find_and_get(dev->kobj.sd, dev_attr_firmware.attr.name);
	kernfs_put(node);

	return node;
}

static int add_manager(struct device *dev)
{
	struct load_options *options;
	int ret;

	if (has_attributes(dev)) {
		dev_info(dev, "has attributes to load images already\n");
		return -EEXIST;
	}

	options = devres_alloc(load_options_release, sizeof(*options),
			       GFP_KERNEL);
	if (!options)
		return -ENOMEM;
	devres_add(dev, options);

	ret = sysfs_create_group(&dev->kobj, &load_group);
	if (ret) {
		dev_err(dev, "cannot add attributes: %pe\n", ERR_PTR(ret));
		devres_release(dev, load_options_release, NULL, NULL);
	}

	return ret;
}

static void remove_manager(struct device *dev)
{
	if (!load_options_of(dev))
		return;

	/* Waits for loads in progress. */
	sysfs_remove_group(&dev->kobj, &load_group);
	devres_release(dev, load_options_release, NULL, NULL);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define manager_added	add_manager
#define manager_gone	remove_manager
#else
static int manager_added(struct device *dev, struct class_interface *interface)
{
	return add_manager(dev);
}

static void manager_gone(struct device *dev, struct class_interface *interface)
{
	remove_manager(dev);
}
#endif

static struct class_interface manager_interface = {
	.add_dev = manager_added,
	.remove_dev = manager_gone,
};

/*
 * The class of managers is not exported, but each manager points to it. So the
 * first manager is found through its parent. After that, the class reports all
 * managers that are added and removed, whatever their parents are.
 */
static DEFINE_MUTEX(class_lock);

static int look_for_manager(struct device *parent, void *data)
{
	struct fpga_manager *mgr;
	int ret = 0;

	mgr = fpga_mgr_get(parent);
	if (IS_ERR(mgr))
		return 0;

	mutex_lock(&class_lock);
	if (!manager_interface.class) {
		manager_interface.class = mgr->dev.class;
		ret = class_interface_register(&manager_interface);
		if (ret)
			manager_interface.class = NULL;
	}
	mutex_unlock(&class_lock);
	fpga_mgr_put(mgr);

	return ret ?: 1;
}

static int platform_event(struct notifier_block *nb, unsigned long action,
			  void *data)
{
	if (action == BUS_NOTIFY_BOUND_DRIVER &&
	    !READ_ONCE(manager_interface.class))
		look_for_manager(data, NULL);

	return NOTIFY_OK;
}

static struct notifier_block platform_notifier = {
	.notifier_call = platform_event,
};

static int __init fpga_mgr_sysfs_init(void)
{
	int ret;

	/* The managers of Zynq-7000 and Zynq UltraScale+ are on this bus. */
	ret = bus_register_notifier(&platform_bus_type, &platform_notifier);
	if (ret)
		return ret;

	ret = bus_for_each_dev(&platform_bus_type, NULL, NULL,
			       look_for_manager);
	if (ret < 0) {
		bus_unregister_notifier(&platform_bus_type, &platform_notifier);
		return ret;
	}

	return 0;
}
module_init(fpga_mgr_sysfs_init);

static void __exit fpga_mgr_sysfs_exit(void)
{
	bus_unregister_notifier(&platform_bus_type, &platform_notifier);
	if (manager_interface.class)
		class_interface_unregister(&manager_interface);
}
module_exit(fpga_mgr_sysfs_exit);

MODULE_DESCRIPTION("Attributes of FPGA managers to load images by name");
MODULE_AUTHOR("The developers of zynq-sd-builder");
MODULE_LICENSE("GPL");
