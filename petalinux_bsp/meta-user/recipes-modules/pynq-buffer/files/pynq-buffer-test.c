// SPDX-License-Identifier: GPL-2.0
/*
 * Tests /dev/pynq-buffer on a running system, as root:
 *
 *	arm-linux-gnueabihf-gcc -O2 -Wall -static -pthread -o pynq-buffer-test pynq-buffer-test.c
 *
 * No other program may allocate buffers meanwhile. The limits of the module are
 * changed and finally set to their defaults. Ends with 0 if all checks pass.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pynq-buffer.h"

#define DEVICE		"/dev/pynq-buffer"
#define PARAMETERS	"/sys/module/pynq_buffer/parameters/"
#define MIB		(1024UL * 1024)
#define PAGE		((unsigned long)getpagesize())

/* Of all contiguous memory. Each is a file, of which a process may have 1024. */
#define PARTS		512

/* Every second process is killed; the others make 1,000 buffers. */
#define PROCESSES	8
#define ALLOCATIONS	250
#define LARGEST		MIB

#define THREADS		8
#define OPERATIONS	500
#define SHARED		16
#define SHARED_SIZE	(4 * PAGE)

/**
 * struct thread - one of the threads that share buffers
 * @id: the thread
 * @seed: start of its sequence of operations
 * @closed: operations on a descriptor that had been closed
 * @wrong: operations that failed for other reasons
 */
struct thread {
	pthread_t id;
	unsigned int seed, closed, wrong;
};

static int shared[SHARED];

static int device = -1;
static unsigned int checks, failures;

#define CHECK(condition) check(!!(condition), #condition, __LINE__)

/* The error of a call, 0 if it did not fail. */
#define ERROR(call) ((call) < 0 ? errno : 0)

static void check(int held, const char *condition, int line)
{
	checks++;
	if (held)
		return;
	failures++;
	printf("line %d: does not hold: %s (errno %d)\n", line, condition, errno);
}

static void set_parameter(const char *name, unsigned int value)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	file = fopen(path, "w");
	if (!file || fprintf(file, "%u\n", value) < 0 || fclose(file)) {
		perror(path);
		exit(2);
	}
}

static long memory_kb(const char *key)
{
	char line[128];
	long value = -1;
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			value = atol(line + strlen(key) + 1);
	if (file)
		fclose(file);

	return value;
}

static int open_files(void)
{
	int fd, count = 0;

	for (fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;

	return count;
}

static int allocate(struct pynq_buffer_alloc *alloc, __u64 size, __u32 flags)
{
	memset(alloc, 0, sizeof(*alloc));
	alloc->size = size;
	alloc->flags = flags;
	alloc->fd = -1;

	return ioctl(device, PYNQ_BUFFER_ALLOC, alloc);
}

/*
 * Memory available for buffers. CmaFree is less: the kernel uses free contiguous
 * memory for programs and files, and reclaims it for buffers.
 */
static long free_kb(void)
{
	int buffers[PARTS], count = 0;
	struct pynq_buffer_alloc alloc;
	long total = memory_kb("CmaTotal"), i;

	while (count < PARTS && !allocate(&alloc, total * 1024ULL / PARTS, 0))
		buffers[count++] = alloc.fd;
	for (i = 0; i < count; i++)
		close(buffers[i]);

	return total / PARTS * count;
}

static int sync_range(int fd, __u64 offset, __u64 length, __u32 direction)
{
	struct pynq_buffer_sync sync = {
		.offset = offset, .length = length, .direction = direction,
	};

	return ioctl(fd, PYNQ_BUFFER_SYNC, &sync);
}

static void *map(const struct pynq_buffer_alloc *alloc)
{
	return mmap(NULL, alloc->size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    alloc->fd, 0);
}

static int all_zero(const unsigned char *bytes, size_t size)
{
	while (size--)
		if (*bytes++)
			return 0;

	return 1;
}

/* Compares with the contents of memory at the address for the logic. */
static void test_memory(__u32 flags, size_t size)
{
	struct pynq_buffer_alloc alloc;
	struct pynq_buffer_info info = { 0 };
	__u32 *words, *memory;
	size_t i, wrong = 0;
	int mem;

	CHECK(!allocate(&alloc, size, flags));
	CHECK(alloc.size >= size && alloc.size < size + PAGE && !(alloc.size % PAGE));
	CHECK(!(alloc.address % PAGE) && alloc.address + alloc.size <= 1ULL << 32);
	CHECK(fcntl(alloc.fd, F_GETFD) == FD_CLOEXEC);
	CHECK(!ioctl(alloc.fd, PYNQ_BUFFER_INFO, &info));
	CHECK(info.size == alloc.size && info.address == alloc.address);
	CHECK(info.flags == flags && !info.reserved);

	words = map(&alloc);
	mem = open("/dev/mem", O_RDWR | O_SYNC);
	memory = mmap(NULL, alloc.size, PROT_READ | PROT_WRITE, MAP_SHARED, mem,
		      alloc.address);
	CHECK(words != MAP_FAILED && memory != MAP_FAILED);
	if (words == MAP_FAILED || memory == MAP_FAILED)
		exit(1);

	CHECK(all_zero((void *)words, alloc.size));
	for (i = 0; i < alloc.size / 4; i++)
		words[i] = i * 2654435761U;
	CHECK(!sync_range(alloc.fd, 0, alloc.size, PYNQ_BUFFER_TO_DEVICE));
	for (i = 0; i < alloc.size / 4; i++)
		wrong += memory[i] != (__u32)(i * 2654435761U);
	CHECK(!wrong);

	for (i = 0; i < alloc.size / 4; i++)
		memory[i] = ~(__u32)i;
	CHECK(!sync_range(alloc.fd, 0, alloc.size, PYNQ_BUFFER_FROM_DEVICE));
	for (i = 0; i < alloc.size / 4; i++)
		wrong += words[i] != ~(__u32)i;
	CHECK(!wrong);

	munmap(memory, alloc.size);
	close(mem);

	/* Only the mapping keeps the buffer alive. */
	close(alloc.fd);
	words[0] = 42;
	CHECK(words[0] == 42);
	munmap(words, alloc.size);
}

static void test_alloc_requests(void)
{
	const __u64 huge[] = {
		1ULL << 31, (1ULL << 31) + 1, (1ULL << 32) - 1, 1ULL << 32,
		(1ULL << 32) + 4096, 1ULL << 63, UINT64_MAX - 4095, UINT64_MAX,
	};
	struct pynq_buffer_alloc alloc;
	struct rlimit limit, none;
	unsigned int i, flags;
	int before = open_files();
	void *page;

	for (flags = 0; flags <= PYNQ_BUFFER_FLAGS; flags++) {
		CHECK(ERROR(allocate(&alloc, 0, flags)) == EINVAL);
		for (i = 0; i < sizeof(huge) / sizeof(*huge); i++)
			CHECK(ERROR(allocate(&alloc, huge[i], flags)) == ENOMEM);

		/* Without limits, the allocator has to fail. */
		set_parameter("total_mib", ~0U);
		for (i = 0; i < sizeof(huge) / sizeof(*huge); i++)
			CHECK(ERROR(allocate(&alloc, huge[i], flags)) == ENOMEM);
		set_parameter("total_mib", 0);
	}
	for (i = 1; i < 32; i++)
		CHECK(ERROR(allocate(&alloc, 4096, 1U << i)) == EINVAL);

	CHECK(ERROR(ioctl(device, PYNQ_BUFFER_ALLOC, NULL)) == EFAULT);
	CHECK(ERROR(ioctl(device, PYNQ_BUFFER_ALLOC, -4096L)) == EFAULT);
	page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(ERROR(ioctl(device, PYNQ_BUFFER_ALLOC, page)) == EINVAL);
	munmap(page, PAGE);

	/* Readable but not writable: the buffer has to be freed again. */
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	((struct pynq_buffer_alloc *)page)->size = MIB;
	mprotect(page, PAGE, PROT_READ);
	CHECK(ERROR(ioctl(device, PYNQ_BUFFER_ALLOC, page)) == EFAULT);
	munmap(page, PAGE);

	CHECK(ERROR(ioctl(device, PYNQ_BUFFER_INFO, &alloc)) == ENOTTY);
	CHECK(ERROR(ioctl(device, _IO(PYNQ_BUFFER_IOC, 99), 0)) == ENOTTY);
	CHECK(ERROR(ioctl(device, _IOWR(PYNQ_BUFFER_IOC, 0, int), &alloc)) == ENOTTY);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, 0) == MAP_FAILED);

	getrlimit(RLIMIT_NOFILE, &limit);
	none = limit;
	none.rlim_cur = before;
	setrlimit(RLIMIT_NOFILE, &none);
	CHECK(ERROR(allocate(&alloc, 4096, 0)) == EMFILE);
	setrlimit(RLIMIT_NOFILE, &limit);

	CHECK(open_files() == before);
}

static void test_buffer_requests(__u32 flags)
{
	const int shared = MAP_SHARED;
	struct pynq_buffer_alloc alloc;
	struct pynq_buffer_sync sync;
	__u64 size;
	void *mapped;
	char byte;
	int fd;

	CHECK(!allocate(&alloc, 5 * PAGE - 1, flags));
	fd = alloc.fd;
	size = alloc.size;
	CHECK(size == 5 * PAGE);

	CHECK(!sync_range(fd, 0, size, PYNQ_BUFFER_DIRECTIONS));
	CHECK(!sync_range(fd, 1, 1, PYNQ_BUFFER_TO_DEVICE));
	CHECK(!sync_range(fd, size - 1, 1, PYNQ_BUFFER_FROM_DEVICE));
	CHECK(!sync_range(fd, size, 0, PYNQ_BUFFER_TO_DEVICE));
	CHECK(ERROR(sync_range(fd, 0, size, 0)) == EINVAL);
	CHECK(ERROR(sync_range(fd, 0, size, 4)) == EINVAL);
	CHECK(ERROR(sync_range(fd, 0, size, ~0U)) == EINVAL);
	CHECK(ERROR(sync_range(fd, 0, size + 1, 1)) == EINVAL);
	CHECK(ERROR(sync_range(fd, 1, size, 1)) == EINVAL);
	CHECK(ERROR(sync_range(fd, size + 1, 0, 1)) == EINVAL);
	CHECK(ERROR(sync_range(fd, UINT64_MAX, 1, 1)) == EINVAL);
	CHECK(ERROR(sync_range(fd, 1, UINT64_MAX, 1)) == EINVAL);
	CHECK(ERROR(sync_range(fd, UINT64_MAX, UINT64_MAX, 1)) == EINVAL);
	CHECK(ERROR(sync_range(fd, 1ULL << 32, 1, 1)) == EINVAL);
	CHECK(ERROR(sync_range(fd, 0, (1ULL << 32) + 1, 1)) == EINVAL);
	memset(&sync, 0, sizeof(sync));
	sync.direction = PYNQ_BUFFER_TO_DEVICE;
	sync.reserved = 1;
	CHECK(ERROR(ioctl(fd, PYNQ_BUFFER_SYNC, &sync)) == EINVAL);
	CHECK(ERROR(ioctl(fd, PYNQ_BUFFER_SYNC, NULL)) == EFAULT);
	CHECK(ERROR(ioctl(fd, PYNQ_BUFFER_INFO, NULL)) == EFAULT);
	CHECK(ERROR(ioctl(fd, PYNQ_BUFFER_ALLOC, &alloc)) == ENOTTY);
	CHECK(ERROR(ioctl(fd, _IO(PYNQ_BUFFER_IOC, 99), 0)) == ENOTTY);
	CHECK(read(fd, &byte, 1) < 0 && write(fd, &byte, 1) < 0);

	CHECK(mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED);
	CHECK(mmap(NULL, size + 1, PROT_READ, shared, fd, 0) == MAP_FAILED);
	CHECK(mmap(NULL, size, PROT_READ, shared, fd, PAGE) == MAP_FAILED);
	CHECK(mmap(NULL, PAGE, PROT_READ, shared, fd, size) == MAP_FAILED);
	CHECK(mmap64(NULL, PAGE, PROT_READ, shared, fd, 1LL << 40) == MAP_FAILED);

	/* A part of it, which cannot be enlarged. */
	mapped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, shared, fd, 4 * PAGE);
	CHECK(mapped != MAP_FAILED);
	CHECK(mremap(mapped, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
	munmap(mapped, PAGE);

	CHECK(!close(fd));
	CHECK(ERROR(close(fd)) == EBADF);
	CHECK(ERROR(ioctl(fd, PYNQ_BUFFER_INFO, &alloc)) == EBADF);
}

static void test_limits(void)
{
	struct pynq_buffer_alloc first, second;
	int status;

	set_parameter("total_mib", 4);
	CHECK(!allocate(&first, 3 * MIB, 0));
	CHECK(ERROR(allocate(&second, MIB + 1, 0)) == ENOMEM);
	CHECK(!allocate(&second, MIB, PYNQ_BUFFER_CACHEABLE));
	close(second.fd);
	close(first.fd);
	set_parameter("total_mib", 0);

	/* The user limit does not apply to root; it applies to each user's sum. */
	set_parameter("user_mib", 2);
	CHECK(!allocate(&first, 3 * MIB, 0));
	if (!fork()) {
		failures = 0;
		if (setresuid(1000, 1000, 1000))
			_exit(1);
		CHECK(!allocate(&second, 2 * MIB, 0));
		CHECK(ERROR(allocate(&first, 1, 0)) == EDQUOT);
		close(second.fd);
		CHECK(!allocate(&second, 1, 0));
		CHECK(ERROR(allocate(&first, 2 * MIB, 0)) == EDQUOT);
		fflush(stdout);
		_exit(!!failures);
	}
	wait(&status);
	CHECK(!status);
	close(first.fd);
	set_parameter("user_mib", 0);
}

static int send_file(int socket, int fd)
{
	char control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec data = { .iov_base = "", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));

	return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}

/* A buffer outlives its process: in a child's mapping, and in transit in a socket. */
static void test_owners(void)
{
	struct pynq_buffer_alloc alloc;
	int sockets[2], status, pipes[2];
	char *bytes;
	pid_t child;
	char byte;

	CHECK(!pipe(pipes) && !socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets));
	child = fork();
	if (!child) {
		if (allocate(&alloc, MIB, 0) || send_file(sockets[1], alloc.fd))
			_exit(1);
		bytes = map(&alloc);
		bytes[0] = 'a';
		if (!fork()) {
			/* Continues after its parent's death. */
			close(alloc.fd);
			while (__atomic_load_n(bytes, __ATOMIC_ACQUIRE) != 'b')
				usleep(1000);
			_exit(write(pipes[1], "", 1) != 1);
		}
		_exit(0);
	}
	waitpid(child, &status, 0);
	CHECK(!status);

	{
		char control[CMSG_SPACE(sizeof(int))];
		struct iovec data = { .iov_base = &byte, .iov_len = 1 };
		struct msghdr message = {
			.msg_iov = &data, .msg_iovlen = 1,
			.msg_control = control, .msg_controllen = sizeof(control),
		};

		CHECK(recvmsg(sockets[0], &message, 0) == 1);
		memcpy(&alloc.fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	}
	alloc.size = MIB;
	bytes = map(&alloc);
	CHECK(bytes != MAP_FAILED && bytes[0] == 'a');
	__atomic_store_n(bytes, 'b', __ATOMIC_RELEASE);
	CHECK(read(pipes[0], &byte, 1) == 1);
	munmap(bytes, MIB);
	close(alloc.fd);
	close(pipes[0]);
	close(pipes[1]);
	close(sockets[0]);
	close(sockets[1]);
}

/* Ends after ALLOCATIONS if number is even, and else only when it is killed. */
static void allocate_and_hold(unsigned char number, int progress)
{
	struct pynq_buffer_alloc held[4] = { 0 };
	void *mapped[4] = { NULL };
	unsigned int i, slot, seed = number + 1;

	for (i = 0; number % 2 || i < ALLOCATIONS; i++) {
		seed = seed * 1103515245 + 12345;
		slot = i % 4;
		if (mapped[slot]) {
			munmap(mapped[slot], held[slot].size);
			close(held[slot].fd);
			mapped[slot] = NULL;
		}
		/* Another process may currently have the rest of the memory. */
		while (allocate(&held[slot], 1 + (seed >> 8) % LARGEST, seed >> 31)) {
			if (errno != ENOMEM)
				_exit(1);
			usleep(1000);
		}
		mapped[slot] = map(&held[slot]);
		if (mapped[slot] == MAP_FAILED ||
		    !all_zero(mapped[slot], held[slot].size))
			_exit(1);
		memset(mapped[slot], 0xa5, held[slot].size);
		if (write(progress, &number, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

/* Every second process is killed while it has mapped buffers. */
static void test_many(void)
{
	unsigned int i, total = 0, killed = 0, made[PROCESSES] = { 0 };
	pid_t children[PROCESSES];
	int pipes[2], status;
	unsigned char number;

	CHECK(!pipe(pipes));
	for (i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (!children[i])
			allocate_and_hold(i, pipes[1]);
	}
	close(pipes[1]);
	/* One process after the other, while the others allocate. */
	while (read(pipes[0], &number, 1) == 1) {
		total++;
		made[number]++;
		if (number % 2 && made[number] == 10U * number)
			kill(children[number], SIGKILL);
	}
	close(pipes[0]);

	for (i = 0; i < PROCESSES; i++) {
		waitpid(children[i], &status, 0);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			killed++;
		else
			CHECK(!status && made[i] == ALLOCATIONS);
	}
	printf("%u buffers by %u processes, %u of them killed\n", total, PROCESSES,
	       killed);
	CHECK(killed == PROCESSES / 2);
	CHECK(total >= 1000);
}

static void *shares(void *argument)
{
	struct pynq_buffer_alloc alloc;
	struct thread *thread = argument;
	unsigned int i, seed = thread->seed;
	int *slot, error;
	char *bytes;

	for (i = 0; i < OPERATIONS; i++) {
		seed = seed * 1103515245 + 12345;
		slot = &shared[(seed >> 16) % SHARED];
		error = 0;
		switch ((seed >> 24) % 8) {
		case 0:
		case 1:
		case 2:
			if (allocate(&alloc, SHARED_SIZE, seed >> 31)) {
				thread->wrong++;
				break;
			}
			alloc.fd = __atomic_exchange_n(slot, alloc.fd, __ATOMIC_ACQ_REL);
			error = ERROR(close(alloc.fd));
			break;
		case 3:
			/* Stays in its slot: others still use it, and close it again. */
			error = ERROR(close(__atomic_load_n(slot, __ATOMIC_ACQUIRE)));
			break;
		case 4:
		case 5:
			error = ERROR(sync_range(__atomic_load_n(slot, __ATOMIC_ACQUIRE),
						 0, SHARED_SIZE,
						 PYNQ_BUFFER_DIRECTIONS));
			break;
		default:
			bytes = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE,
				     MAP_SHARED,
				     __atomic_load_n(slot, __ATOMIC_ACQUIRE), 0);
			if (bytes == MAP_FAILED) {
				error = errno;
				break;
			}
			memset(bytes, i, SHARED_SIZE);
			munmap(bytes, SHARED_SIZE);
			break;
		}
		thread->closed += error == EBADF;
		thread->wrong += error && error != EBADF;
	}

	return NULL;
}

/*
 * Threads use and close each other's descriptors. A closed descriptor may become
 * that of the next buffer; all open ones are in a slot, so none is lost.
 */
static void test_threads(void)
{
	struct thread threads[THREADS] = { 0 };
	unsigned int i, closed = 0, wrong = 0;
	int before = open_files();

	for (i = 0; i < SHARED; i++)
		shared[i] = -1;
	for (i = 0; i < THREADS; i++) {
		threads[i].seed = i + 1;
		if (pthread_create(&threads[i].id, NULL, shares, &threads[i]))
			exit(2);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i].id, NULL);
		closed += threads[i].closed;
		wrong += threads[i].wrong;
	}
	for (i = 0; i < SHARED; i++)
		close(shared[i]);

	printf("%u operations by %u threads, %u of them on what was closed\n",
	       THREADS * OPERATIONS, THREADS, closed);
	CHECK(!wrong);
	CHECK(closed && closed < THREADS * OPERATIONS);
	CHECK(open_files() == before);
}

int main(void)
{
	long free_before, free_after, tolerated;
	unsigned int i;

	device = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0) {
		perror(DEVICE);
		return 2;
	}

	/* Once without counting, to fill caches of the kernel. */
	test_memory(0, MIB);
	free_before = free_kb();
	CHECK(free_before > memory_kb("CmaTotal") / 2);

	for (i = 0; i <= PYNQ_BUFFER_FLAGS; i++) {
		test_memory(i, 1);
		test_memory(i, 3 * MIB + 17);
		test_memory(i, 16 * MIB);
		test_buffer_requests(i);
	}
	test_alloc_requests();
	test_limits();
	test_owners();
	test_threads();
	for (i = 0; i < 2; i++)
		test_many();

	/* The kernel cannot always move other pages, and some of them for long. */
	tolerated = 2 * memory_kb("CmaTotal") / PARTS;
	for (i = 0; i < 50; i++) {
		free_after = free_kb();
		if (free_after + tolerated >= free_before)
			break;
		usleep(100000);
	}
	printf("free: %ld kB before, %ld kB after\n", free_before, free_after);
	CHECK(free_after + tolerated >= free_before);

	printf("%u checks, %u failed\n", checks, failures);

	return !!failures;
}
