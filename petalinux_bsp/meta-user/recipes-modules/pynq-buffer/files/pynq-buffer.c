// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers that the programmable logic can reach
 *
 * Only its file owns a buffer: descriptors and mappings have references to the
 * file, so that the end of a process frees its buffers. There are no handles,
 * and nothing that could be freed twice.
 *
 * The logic masters of Zynq-7000 have 32 address bits, and their memory ports
 * do not snoop the processor's caches. So buffers belong to a device with such
 * a mask that is not coherent. A buffer is either mapped without caches, or
 * cached and synced on request.
 */

#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/compat.h>
#include <linux/cred.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/platform_device.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/uidgid.h>

#include "pynq-buffer.h"

/* Maximum size of a buffer, whatever the limits. Fits a 32-bit size_t. */
#define MAX_SIZE	SZ_2G

static unsigned int total_mib;
module_param(total_mib, uint, 0644);
MODULE_PARM_DESC(total_mib, "Limit of all buffers together, in MiB (default 0: half of the memory)");

static unsigned int user_mib;
module_param(user_mib, uint, 0644);
MODULE_PARM_DESC(user_mib, "Limit of the buffers of one user without CAP_SYS_RESOURCE, in MiB (default 0: none but the total)");

/**
 * struct account - memory of the buffers of one user
 * @node: place in the list of accounts
 * @uid: the user
 * @used: sum of the sizes of the user's buffers in bytes, never 0
 */
struct account {
	struct list_head node;
	kuid_t uid;
	u64 used;
};

/**
 * struct buffer - a buffer
 * @size: bytes, whole pages
 * @address: its address as the device sees it
 * @cacheable: whether it is mapped through the processor's caches
 * @page: the first page, if cacheable
 * @kernel: the kernel's mapping, if not cacheable
 * @account: account of its user
 */
struct buffer {
	size_t size;
	dma_addr_t address;
	bool cacheable;
	union {
		struct page *page;
		void *kernel;
	};
	struct account *account;
};

static struct platform_device *buffer_device;

static DEFINE_SPINLOCK(accounts_lock);
static LIST_HEAD(accounts);
static u64 total_used;

static u64 total_limit(void)
{
	unsigned int mib = READ_ONCE(total_mib);

	return mib ? (u64)mib * SZ_1M : ((u64)totalram_pages() << PAGE_SHIFT) / 2;
}

static u64 user_limit(void)
{
	unsigned int mib = READ_ONCE(user_mib);

	if (!mib || capable(CAP_SYS_RESOURCE))
		return U64_MAX;

	return (u64)mib * SZ_1M;
}

static struct account *find_account(kuid_t uid)
{
	struct account *account;

	list_for_each_entry(account, &accounts, node)
		if (uid_eq(account->uid, uid))
			return account;

	return NULL;
}

/* Adds @size to the caller's account, after a check of the limits. */
static struct account *charge(size_t size)
{
	u64 total = total_limit(), user = user_limit();
	struct account *account, *fresh;
	int ret = 0;

	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL);
	if (!fresh)
		return ERR_PTR(-ENOMEM);
	fresh->uid = current_uid();

	spin_lock(&accounts_lock);
	account = find_account(fresh->uid);
	if (!account)
		account = fresh;

	if (total_used + size > total) {
		ret = -ENOMEM;
	} else if (account->used + size > user) {
		ret = -EDQUOT;
	} else {
		if (account == fresh) {
			list_add(&account->node, &accounts);
			fresh = NULL;
		}
		account->used += size;
		total_used += size;
	}
	spin_unlock(&accounts_lock);

	kfree(fresh);

	return ret ? ERR_PTR(ret) : account;
}

static void uncharge(struct account *account, size_t size)
{
	spin_lock(&accounts_lock);
	total_used -= size;
	account->used -= size;
	if (account->used)
		account = NULL;
	else
		list_del(&account->node);
	spin_unlock(&accounts_lock);

	kfree(account);
}

static int alloc_memory(struct buffer *buffer)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_ZERO |
			  __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	struct device *dev = &buffer_device->dev;

	if (!buffer->cacheable) {
		buffer->kernel = dma_alloc_coherent(dev, buffer->size,
						    &buffer->address, gfp);
		return buffer->kernel ? 0 : -ENOMEM;
	}

	/*
	 * This memory is not highmem. On a Zynq-7000 with 1 GB, all of CMA is
	 * in highmem, except with cma=128M@0-512M or VMSPLIT_3G_OPT.
	 */
	buffer->page = dma_alloc_pages(dev, buffer->size, &buffer->address,
				       DMA_BIDIRECTIONAL, gfp);
	if (!buffer->page)
		return -ENOMEM;

	/* Zeros must not be written back after the logic has written. */
	dma_sync_single_for_device(dev, buffer->address, buffer->size,
				   DMA_BIDIRECTIONAL);

	return 0;
}

static void free_memory(struct buffer *buffer)
{
	struct device *dev = &buffer_device->dev;

	if (buffer->cacheable)
		dma_free_pages(dev, buffer->size, buffer->page,
			       buffer->address, DMA_BIDIRECTIONAL);
	else
		dma_free_coherent(dev, buffer->size, buffer->kernel,
				  buffer->address);
}

static struct buffer *make_buffer(u64 size, u32 flags)
{
	struct buffer *buffer;
	int ret;

	if (!size || flags & ~PYNQ_BUFFER_FLAGS)
		return ERR_PTR(-EINVAL);
	if (size > MAX_SIZE)
		return ERR_PTR(-ENOMEM);

	buffer = kzalloc(sizeof(*buffer), GFP_KERNEL);
	if (!buffer)
		return ERR_PTR(-ENOMEM);

	buffer->size = PAGE_ALIGN(size);
	buffer->cacheable = flags & PYNQ_BUFFER_CACHEABLE;

	buffer->account = charge(buffer->size);
	if (IS_ERR(buffer->account)) {
		ret = PTR_ERR(buffer->account);
		goto free_buffer;
	}

	ret = alloc_memory(buffer);
	if (ret)
		goto uncharge;

	return buffer;

uncharge:
	uncharge(buffer->account, buffer->size);
free_buffer:
	kfree(buffer);
	return ERR_PTR(ret);
}

static void free_buffer(struct buffer *buffer)
{
	free_memory(buffer);
	uncharge(buffer->account, buffer->size);
	kfree(buffer);
}

static u32 buffer_flags(const struct buffer *buffer)
{
	return buffer->cacheable ? PYNQ_BUFFER_CACHEABLE : 0;
}

static long buffer_info(struct buffer *buffer, void __user *arg)
{
	struct pynq_buffer_info info = {
		.size = buffer->size,
		.address = buffer->address,
		.flags = buffer_flags(buffer),
	};

	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static long buffer_sync(struct buffer *buffer, void __user *arg)
{
	struct device *dev = &buffer_device->dev;
	struct pynq_buffer_sync sync;
	dma_addr_t address;
	u64 end;

	if (copy_from_user(&sync, arg, sizeof(sync)))
		return -EFAULT;
	if (!sync.direction || sync.direction & ~PYNQ_BUFFER_DIRECTIONS ||
	    sync.reserved)
		return -EINVAL;
	if (check_add_overflow(sync.offset, sync.length, &end) ||
	    end > buffer->size)
		return -EINVAL;

	if (!sync.length)
		return 0;

	if (!buffer->cacheable) {
		/* Drains write buffers, including those of the outer cache. */
		mb();
		return 0;
	}

	address = buffer->address + sync.offset;
	if (sync.direction & PYNQ_BUFFER_TO_DEVICE)
		dma_sync_single_for_device(dev, address, sync.length,
					   DMA_TO_DEVICE);
	if (sync.direction & PYNQ_BUFFER_FROM_DEVICE)
		dma_sync_single_for_cpu(dev, address, sync.length,
					DMA_FROM_DEVICE);

	return 0;
}

static long buffer_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct buffer *buffer = file->private_data;

	switch (cmd) {
	case PYNQ_BUFFER_INFO:
		return buffer_info(buffer, (void __user *)arg);
	case PYNQ_BUFFER_SYNC:
		return buffer_sync(buffer, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static int buffer_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct buffer *buffer = file->private_data;
	struct device *dev = &buffer_device->dev;
	unsigned long pages = buffer->size >> PAGE_SHIFT;

	/* A private mapping would be a copy, which devices do not see. */
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;

	if (buffer->cacheable)
		return dma_mmap_pages(dev, vma, buffer->size, buffer->page);

	return dma_mmap_coherent(dev, vma, buffer->kernel, buffer->address,
				 buffer->size);
}

static int buffer_release(struct inode *inode, struct file *file)
{
	free_buffer(file->private_data);

	return 0;
}

#ifdef CONFIG_PROC_FS
static void buffer_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct buffer *buffer = file->private_data;

	seq_printf(m, "size:\t%zu\n", buffer->size);
	seq_printf(m, "address:\t%pad\n", &buffer->address);
	seq_printf(m, "cacheable:\t%d\n", buffer->cacheable);
}
#endif

static const struct file_operations buffer_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = buffer_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = buffer_mmap,
	.release = buffer_release,
#ifdef CONFIG_PROC_FS
	.show_fdinfo = buffer_show_fdinfo,
#endif
};

static long device_alloc(void __user *arg)
{
	struct pynq_buffer_alloc alloc;
	struct buffer *buffer;
	struct file *file;
	long ret;
	int fd;

	if (copy_from_user(&alloc, arg, sizeof(alloc)))
		return -EFAULT;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;

	buffer = make_buffer(alloc.size, alloc.flags);
	if (IS_ERR(buffer)) {
		ret = PTR_ERR(buffer);
		goto put_fd;
	}

	file = anon_inode_getfile("[pynq-buffer]", &buffer_fops, buffer,
				  O_RDWR);
	if (IS_ERR(file)) {
		ret = PTR_ERR(file);
		free_buffer(buffer);
		goto put_fd;
	}

	alloc.size = buffer->size;
	alloc.address = buffer->address;
	alloc.fd = fd;
	if (copy_to_user(arg, &alloc, sizeof(alloc))) {
		/* Releasing the file also frees the buffer. */
		fput(file);
		ret = -EFAULT;
		goto put_fd;
	}

	/* From now on, other threads can use and close it. */
	fd_install(fd, file);

	return 0;

put_fd:
	put_unused_fd(fd);
	return ret;
}

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd == PYNQ_BUFFER_ALLOC)
		return device_alloc((void __user *)arg);

	return -ENOTTY;
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device_file = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "pynq-buffer",
	.fops = &device_fops,
};

static int __init pynq_buffer_init(void)
{
	const struct platform_device_info info = {
		.name = "pynq-buffer",
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(32),
	};
	int ret;

	buffer_device = platform_device_register_full(&info);
	if (IS_ERR(buffer_device))
		return PTR_ERR(buffer_device);

	ret = dma_set_mask_and_coherent(&buffer_device->dev, DMA_BIT_MASK(32));
	if (ret)
		goto unregister_device;

	device_file.parent = &buffer_device->dev;
	ret = misc_register(&device_file);
	if (ret)
		goto unregister_device;

	return 0;

unregister_device:
	platform_device_unregister(buffer_device);
	return ret;
}
module_init(pynq_buffer_init);

/* Not called while there are buffers: their files have references. */
static void __exit pynq_buffer_exit(void)
{
	misc_deregister(&device_file);
	platform_device_unregister(buffer_device);
}
module_exit(pynq_buffer_exit);

MODULE_DESCRIPTION("Buffers that the programmable logic can reach");
MODULE_AUTHOR("The developers of zynq-sd-builder");
MODULE_LICENSE("GPL");
