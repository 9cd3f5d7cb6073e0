// SPDX-License-Identifier: GPL-2.0
/*
 * Device-tree overlays from user space
 *
 * Each directory made in /sys/kernel/config/device-tree/overlays/ is a slot for
 * one overlay:
 *
 * path (read, write)
 *	The name of a .dtbo file below the firmware search path. Writing it
 *	applies that overlay, and returns the result.
 *
 * dtbo (read, write)
 *	The overlay itself. It is applied when the file is closed after writing.
 *	configfs discards the result, so it has to be read from status.
 *	Reading returns the blob while it is applied, and nothing otherwise.
 *
 * status (read)
 *	"applied" or "unapplied".
 *
 * A slot takes one overlay. Removing the directory removes the overlay. AMD's
 * and other vendors' kernels have the same interface.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/configfs.h>
#include <linux/device.h>
#include <linux/firmware.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/of.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/version.h>

/**
 * struct overlay - an overlay that was passed to the kernel
 * @id: the kernel's number of the overlay; 0 if the kernel does not have it
 * @node: place in the list of overlays that could not be removed yet
 */
struct overlay {
	int id;
	struct list_head node;
};

/**
 * struct overlay_slot - a directory in configfs
 * @item: its directory
 * @path: name of the file that was applied, or NULL
 * @blob: the blob that was applied, or NULL
 * @blob_size: size of @blob in bytes
 * @overlay: the applied overlay, or NULL
 */
struct overlay_slot {
	struct config_item item;
	char *path;
	void *blob;
	size_t blob_size;
	struct overlay *overlay;
};

/* Device for reading firmware files. */
static struct device *loader;

/* Protects all slots, the list, and the state of the notifier. */
static DEFINE_MUTEX(overlays_lock);

/* Overlays without a slot, which others on top of them prevent from removal. */
static LIST_HEAD(leftovers);

/**
 * enum apply_stage - progress of the kernel with the overlay being applied
 * @APPLY_CHECKED: no notifier has been called
 * @APPLY_ANNOUNCED: notifiers have been called, changes may have been recorded
 * @APPLY_DONE: the changes have been made
 */
enum apply_stage {
	APPLY_CHECKED,
	APPLY_ANNOUNCED,
	APPLY_DONE,
};

static enum apply_stage apply_stage;
static struct task_struct *applying_task;

static int overlay_event(struct notifier_block *nb, unsigned long action,
			 void *data)
{
	/* Called by the task that applies the overlay; ignore other tasks. */
	if (READ_ONCE(applying_task) != current)
		return NOTIFY_OK;

	if (action == OF_OVERLAY_PRE_APPLY)
		apply_stage = APPLY_ANNOUNCED;
	else if (action == OF_OVERLAY_POST_APPLY)
		apply_stage = APPLY_DONE;

	return NOTIFY_OK;
}

static struct notifier_block overlay_notifier = {
	.notifier_call = overlay_event,
	/* Before all notifiers that may reject it, such as FPGA regions. */
	.priority = INT_MAX,
};

/* Returns whether the overlay was removed. If not, it stays in the leftovers. */
static bool remove_overlay(struct overlay *overlay)
{
	int ret;

	ret = of_overlay_remove(&overlay->id);
	if (overlay->id)
		return false;
	if (ret)
		pr_err("complaint on removing an overlay: %pe\n", ERR_PTR(ret));

	list_del(&overlay->node);
	kfree(overlay);
	module_put(THIS_MODULE);

	return true;
}

static void remove_leftovers(void)
{
	struct overlay *overlay, *next;
	bool again;

	/* Newest first, as later overlays may depend on earlier ones. */
	do {
		again = false;
		list_for_each_entry_safe(overlay, next, &leftovers, node)
			again |= remove_overlay(overlay);
	} while (again && !list_empty(&leftovers));
}

static int fdt_apply(const void *blob, size_t size, int *id)
{
	int ret;

	apply_stage = APPLY_CHECKED;
	WRITE_ONCE(applying_task, current);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	ret = of_overlay_fdt_apply(blob, size, id, NULL);
#else
	ret = of_overlay_fdt_apply(blob, size, id);
#endif
	WRITE_ONCE(applying_task, NULL);

	return ret;
}

/*
 * The kernel expects the caller to remove an overlay that failed. But that would
 * revert changes that were recorded and never made, and make an FPGA region
 * release another overlay, which it has. So an overlay that failed in between
 * stays registered in the kernel, and its memory stays allocated.
 */
static void give_back(struct overlay *overlay)
{
	if (!overlay->id || apply_stage == APPLY_ANNOUNCED) {
		kfree(overlay);
		return;
	}

	__module_get(THIS_MODULE);
	list_add(&overlay->node, &leftovers);
	remove_leftovers();
}

static int apply_overlay(struct overlay_slot *slot, const void *blob,
			 size_t size)
{
	struct overlay *overlay;
	int ret;

	overlay = kzalloc(sizeof(*overlay), GFP_KERNEL);
	slot->blob = kvmalloc(size, GFP_KERNEL);
	if (!overlay || !slot->blob) {
		ret = -ENOMEM;
		goto free_all;
	}
	memcpy(slot->blob, blob, size);

	ret = fdt_apply(blob, size, &overlay->id);
	if (ret) {
		pr_err("%s: cannot apply overlay: %pe\n",
		       config_item_name(&slot->item), ERR_PTR(ret));
		give_back(overlay);
		overlay = NULL;
		goto free_all;
	}

	__module_get(THIS_MODULE);
	slot->overlay = overlay;
	slot->blob_size = size;

	return 0;

free_all:
	kvfree(slot->blob);
	slot->blob = NULL;
	kfree(overlay);
	return ret;
}

static struct overlay_slot *to_slot(struct config_item *item)
{
	return container_of(item, struct overlay_slot, item);
}

static ssize_t slot_path_show(struct config_item *item, char *page)
{
	struct overlay_slot *slot = to_slot(item);
	ssize_t len;

	mutex_lock(&overlays_lock);
	len = sysfs_emit(page, "%s\n", slot->path ?: "");
	mutex_unlock(&overlays_lock);

	return len;
}

static ssize_t slot_path_store(struct config_item *item, const char *page,
			       size_t count)
{
	struct overlay_slot *slot = to_slot(item);
	const struct firmware *file;
	char *copy, *name;
	int ret;

	copy = kstrndup(page, count, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;

	/* Moves the name to the front, so that it can be freed. */
	name = strim(copy);
	memmove(copy, name, strlen(name) + 1);
	if (!*copy) {
		ret = -EINVAL;
		goto free_copy;
	}

	mutex_lock(&overlays_lock);
	if (slot->overlay) {
		ret = -EBUSY;
		goto unlock;
	}

	ret = request_firmware(&file, copy, loader);
	if (ret) {
		pr_err("%s: cannot read %s: %pe\n", config_item_name(item),
		       copy, ERR_PTR(ret));
		goto unlock;
	}
	ret = apply_overlay(slot, file->data, file->size);
	release_firmware(file);
	if (!ret)
		swap(slot->path, copy);

unlock:
	mutex_unlock(&overlays_lock);
free_copy:
	kfree(copy);
	return ret ?: count;
}

static ssize_t slot_status_show(struct config_item *item, char *page)
{
	struct overlay_slot *slot = to_slot(item);

	return sysfs_emit(page, "%s\n",
			  READ_ONCE(slot->overlay) ? "applied" : "unapplied");
}

/* Without a buffer, the caller asks for the required size. */
static ssize_t slot_dtbo_read(struct config_item *item, void *buf, size_t size)
{
	struct overlay_slot *slot = to_slot(item);
	ssize_t len = 0;

	mutex_lock(&overlays_lock);
	if (slot->overlay) {
		len = slot->blob_size;
		if (buf) {
			len = min_t(size_t, len, size);
			memcpy(buf, slot->blob, len);
		}
	}
	mutex_unlock(&overlays_lock);

	return len;
}

static ssize_t slot_dtbo_write(struct config_item *item, const void *buf,
			       size_t size)
{
	struct overlay_slot *slot = to_slot(item);
	int ret = -EBUSY;

	mutex_lock(&overlays_lock);
	if (slot->overlay)
		pr_err("%s: has an overlay already\n", config_item_name(item));
	else
		ret = apply_overlay(slot, buf, size);
	mutex_unlock(&overlays_lock);

	return ret ?: size;
}

CONFIGFS_ATTR(slot_, path);
CONFIGFS_ATTR_RO(slot_, status);
CONFIGFS_BIN_ATTR(slot_, dtbo, NULL, SZ_1M);

static struct configfs_attribute *slot_attrs[] = {
	&slot_attr_path,
	&slot_attr_status,
	NULL
};

static struct configfs_bin_attribute *slot_bin_attrs[] = {
	&slot_attr_dtbo,
	NULL
};

static void slot_release(struct config_item *item)
{
	struct overlay_slot *slot = to_slot(item);

	kvfree(slot->blob);
	kfree(slot->path);
	kfree(slot);
}

static struct configfs_item_operations slot_ops = {
	.release = slot_release,
};

static const struct config_item_type slot_type = {
	.ct_item_ops = &slot_ops,
	.ct_attrs = slot_attrs,
	.ct_bin_attrs = slot_bin_attrs,
	.ct_owner = THIS_MODULE,
};

static struct config_item *make_slot(struct config_group *group,
				     const char *name)
{
	struct overlay_slot *slot;

	slot = kzalloc(sizeof(*slot), GFP_KERNEL);
	if (!slot)
		return ERR_PTR(-ENOMEM);

	config_item_init_type_name(&slot->item, name, &slot_type);

	return &slot->item;
}

static void drop_slot(struct config_group *group, struct config_item *item)
{
	struct overlay_slot *slot = to_slot(item);
	struct overlay *overlay;

	mutex_lock(&overlays_lock);
	overlay = slot->overlay;
	if (overlay) {
		WRITE_ONCE(slot->overlay, NULL);
		list_add(&overlay->node, &leftovers);
		remove_leftovers();
		if (!list_empty(&leftovers))
			pr_warn("after %s: overlays are left until those on top of them are removed\n",
				config_item_name(item));
	}
	mutex_unlock(&overlays_lock);

	config_item_put(item);
}

static struct configfs_group_operations overlays_ops = {
	.make_item = make_slot,
	.drop_item = drop_slot,
};

static const struct config_item_type overlays_type = {
	.ct_group_ops = &overlays_ops,
	.ct_owner = THIS_MODULE,
};

static const struct config_item_type device_tree_type = {
	.ct_owner = THIS_MODULE,
};

static struct config_group overlays_group;

static struct configfs_subsystem device_tree_subsystem = {
	.su_group = {
		.cg_item = {
			.ci_namebuf = "device-tree",
			.ci_type = &device_tree_type,
		},
	},
};

static int __init of_overlay_configfs_init(void)
{
	struct config_group *top = &device_tree_subsystem.su_group;
	int ret;

	loader = root_device_register("of-overlay-configfs");
	if (IS_ERR(loader))
		return PTR_ERR(loader);
	ret = of_overlay_notifier_register(&overlay_notifier);
	if (ret)
		goto unregister_loader;

	config_group_init(top);
	mutex_init(&device_tree_subsystem.su_mutex);
	config_group_init_type_name(&overlays_group, "overlays",
				    &overlays_type);
	configfs_add_default_group(&overlays_group, top);

	ret = configfs_register_subsystem(&device_tree_subsystem);
	if (ret) {
		pr_err("cannot make device-tree in configfs: %pe\n",
		       ERR_PTR(ret));
		goto unregister_notifier;
	}

	return 0;

unregister_notifier:
	of_overlay_notifier_unregister(&overlay_notifier);
unregister_loader:
	root_device_unregister(loader);
	return ret;
}
module_init(of_overlay_configfs_init);

/* Not called while there are slots or leftovers: they have references. */
static void __exit of_overlay_configfs_exit(void)
{
	configfs_unregister_subsystem(&device_tree_subsystem);
	of_overlay_notifier_unregister(&overlay_notifier);
	root_device_unregister(loader);
}
module_exit(of_overlay_configfs_exit);

MODULE_DESCRIPTION("Device-tree overlays through configfs");
MODULE_AUTHOR("The developers of zynq-sd-builder");
MODULE_LICENSE("GPL");
