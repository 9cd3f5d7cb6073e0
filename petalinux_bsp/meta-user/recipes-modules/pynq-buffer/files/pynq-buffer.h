/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Buffers that the programmable logic can reach
 *
 * PYNQ_BUFFER_ALLOC on /dev/pynq-buffer makes a buffer and opens a file for it.
 * That file can be mapped (MAP_SHARED), synced, passed on and duplicated. The
 * buffer goes when its file is closed everywhere and no mapping is left.
 */
#ifndef _UAPI_PYNQ_BUFFER_H
#define _UAPI_PYNQ_BUFFER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Flags of a buffer */

/* The processor's mapping goes through its caches: PYNQ_BUFFER_SYNC is needed. */
#define PYNQ_BUFFER_CACHEABLE	0x1

#define PYNQ_BUFFER_FLAGS	PYNQ_BUFFER_CACHEABLE

/**
 * struct pynq_buffer_alloc - argument of PYNQ_BUFFER_ALLOC
 * @size: in: bytes wanted, at least 1; out: bytes allocated, whole pages
 * @address: out: address of the buffer on the bus of the logic
 * @flags: in: flags of the buffer; unknown ones are refused
 * @fd: out: the buffer's file, opened with O_CLOEXEC
 *
 * The memory is contiguous, below 4 GiB, and zeroed.
 *
 * Errors: EINVAL for a size of 0 or unknown flags, ENOMEM if there is no such
 * piece of memory or all buffers together would exceed the total limit, EDQUOT
 * if the user's buffers would exceed the user's limit, EMFILE, ENFILE, EFAULT.
 */
struct pynq_buffer_alloc {
	__aligned_u64 size;
	__aligned_u64 address;
	__u32 flags;
	__s32 fd;
};

/**
 * struct pynq_buffer_info - argument of PYNQ_BUFFER_INFO
 * @size: out: bytes allocated
 * @address: out: address of the buffer on the bus of the logic
 * @flags: out: flags of the buffer
 * @reserved: out: 0
 */
struct pynq_buffer_info {
	__aligned_u64 size;
	__aligned_u64 address;
	__u32 flags;
	__u32 reserved;
};

/* Directions of a sync */

/* What the processor wrote becomes visible to the logic. */
#define PYNQ_BUFFER_TO_DEVICE	0x1
/*
 * What the logic wrote becomes visible to the processor. What the processor
 * wrote before and did not sync is lost.
 */
#define PYNQ_BUFFER_FROM_DEVICE	0x2

#define PYNQ_BUFFER_DIRECTIONS	(PYNQ_BUFFER_TO_DEVICE | PYNQ_BUFFER_FROM_DEVICE)

/**
 * struct pynq_buffer_sync - argument of PYNQ_BUFFER_SYNC
 * @offset: in: first byte
 * @length: in: number of bytes; with 0 nothing is done
 * @direction: in: one direction, or both: first to, then from the device
 * @reserved: in: 0
 *
 * Works on whole cache lines: what shares one with the range is synced too.
 * Buffers that are not cacheable need no sync; then it is a memory barrier.
 *
 * Errors: EINVAL for a range that is not in the buffer, a direction that is
 * missing or unknown, or a @reserved that is not 0; EFAULT.
 */
struct pynq_buffer_sync {
	__aligned_u64 offset;
	__aligned_u64 length;
	__u32 direction;
	__u32 reserved;
};

#define PYNQ_BUFFER_IOC		0xBD

/* On /dev/pynq-buffer */
#define PYNQ_BUFFER_ALLOC	_IOWR(PYNQ_BUFFER_IOC, 0, struct pynq_buffer_alloc)

/* On the file of a buffer */
#define PYNQ_BUFFER_INFO	_IOR(PYNQ_BUFFER_IOC, 1, struct pynq_buffer_info)
#define PYNQ_BUFFER_SYNC	_IOW(PYNQ_BUFFER_IOC, 2, struct pynq_buffer_sync)

#endif /* _UAPI_PYNQ_BUFFER_H */
