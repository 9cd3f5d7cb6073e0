/* SPDX-License-Identifier: MIT
 *
 * Writes a directory tree into an empty ext2, ext3 or ext4 that mke2fs created:
 *
 *     write-ext4 IMAGE OFFSET TREE EPOCH
 *
 * The filesystem begins at byte OFFSET of the file IMAGE. Files keep mode, owner, modification
 * time and extended attributes; all other times, and that of TREE itself, become EPOCH, in seconds
 * since 1970. The same tree always gives the same bytes.
 *
 * `mke2fs -d` does the same, but allocates and writes each block separately, which takes twice as
 * long. Here libext2fs allocates the blocks of a file at once, and a second thread copies the
 * content while the first proceeds to the next file (ext4_content.c). Directories stay in memory
 * until they are complete (ext4_directory.c).
 *
 * Holes in files become zeros. The program does not sync the image.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <ext2fs/ext3_extents.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "ext4_writer.h"

#define ATTRIBUTES (64 << 10)  /* limit of the bytes of all names, and of a value: xattr(7) */
#define DEEPEST (PATH_MAX / 2) /* limit of nested directories: a path cannot name more */

/* Range of times of an inode, in seconds since 1970. Inodes can hold later times, but until 2242
 * e2fsck regards times from 2310 to 2378 as times before 1970 that old kernels wrote incorrectly,
 * and changes them (e2fsck/pass1.c, EXT4_EXTRA_NEGATIVE_DATE_CUTOFF). */
#define FIRST_TIME INT32_MIN
#define LAST_TIME (3 * (1LL << 32) + INT32_MIN - 1)

ext2_filsys fs;

void fail(const char *name, const char *message)
{
    char here[PATH_MAX] = "";
    bool whole = name && *name == '/';
    if (!whole && !getcwd(here, sizeof here))
        strcpy(here, "..."); /* longer than a path may be */
    fprintf(stderr, "write-ext4: %s%s%s: %s\n", here, whole ? "" : "/", name ? name : "", message);
    _exit(1);
}

void check(errcode_t error, const char *name)
{
    if (error)
        fail(name, error_message(error));
}

void check_call(bool worked, const char *name)
{
    if (!worked)
        fail(name, strerror(errno));
}

/* A file with several names: the numbers of its inodes in the tree (`here`) and in the image. */
struct link {
    dev_t device;
    ino_t here;
    ext2_ino_t there;
};

static void *links;

static int compare_links(const void *one, const void *other)
{
    const struct link *a = one, *b = other;
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    return (a->here > b->here) - (a->here < b->here);
}

static int compare_names(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

/* Copies extended attributes; `file` is the open file or -1. Returns whether there are any: then
 * the inode has changed. */
static bool write_attributes(ext2_ino_t number, const char *name, int file)
{
    static char names[ATTRIBUTES], value[ATTRIBUTES];
    ssize_t length = file >= 0 ? flistxattr(file, names, sizeof names)
                               : llistxattr(name, names, sizeof names);
    if (length == 0 || (length < 0 && errno == ENOTSUP))
        return false;
    check_call(length > 0, name);
    if (!ext2fs_has_feature_xattr(fs->super))
        fail(name, "has extended attributes, for which the filesystem lacks the feature ext_attr");
    struct ext2_xattr_handle *attributes;
    check(ext2fs_xattrs_open(fs, number, &attributes), name);
    check(ext2fs_xattrs_read(attributes), name);
    /* Sort, since the order depends on the filesystem of the tree. */
    static const char *sorted[ATTRIBUTES / 2];
    size_t count = 0;
    for (const char *each = names; each < names + length; each += strlen(each) + 1)
        sorted[count++] = each;
    qsort(sorted, count, sizeof *sorted, compare_names);
    for (size_t each = 0; each < count; each++) {
        ssize_t size = lgetxattr(name, sorted[each], value, sizeof value);
        check_call(size >= 0, name);
        check(ext2fs_xattr_set(attributes, sorted[each], value, size), name);
    }
    check(ext2fs_xattrs_close(&attributes), name);
    return true;
}

/* An inode of the filesystem's size: 128 bytes or more (256). */
union inode {
    struct ext2_inode small;
    struct ext2_inode_large large;
    char bytes[EXT2_MAX_BLOCK_SIZE];
};

static void read_inode(ext2_ino_t number, union inode *inode, const char *name)
{
    int size = EXT2_INODE_SIZE(fs->super);
    check(ext2fs_read_inode_full(fs, number, &inode->small, size), name);
}

static void write_inode(ext2_ino_t number, union inode *inode, const char *name)
{
    int size = EXT2_INODE_SIZE(fs->super);
    check(ext2fs_write_inode_full(fs, number, &inode->small, size), name);
}

/* Returns the nearest time that an inode can hold, like the kernel's timestamp_truncate(). */
static struct timespec nearest(struct timespec time)
{
    bool large = EXT2_INODE_SIZE(fs->super) > EXT2_GOOD_OLD_INODE_SIZE;
    time_t last = large ? LAST_TIME : INT32_MAX;
    if (time.tv_sec <= FIRST_TIME)
        return (struct timespec){.tv_sec = FIRST_TIME};
    if (time.tv_sec >= last)
        return (struct timespec){.tv_sec = last};
    return time;
}

/* Returns the part of a time beyond 32 bits of seconds, like the kernel's ext4_encode_extra_time().
 * */
static __u32 extra_time(struct timespec time)
{
    __u64 epochs = (__u64)time.tv_sec - (__s32)time.tv_sec;
    return time.tv_nsec << 2 | (epochs >> 32 & 3);
}

static void set_status(union inode *inode, const struct stat *status)
{
    struct ext2_inode *small = &inode->small;
    struct ext2_inode_large *large = &inode->large;
    struct timespec modified = nearest(status->st_mtim);
    struct timespec now = nearest((struct timespec){.tv_sec = fs->now});
    small->i_mode = status->st_mode;
    small->i_uid = status->st_uid & 0xFFFF;
    ext2fs_set_i_uid_high(*small, status->st_uid >> 16);
    small->i_gid = status->st_gid & 0xFFFF;
    ext2fs_set_i_gid_high(*small, status->st_gid >> 16);
    small->i_mtime = modified.tv_sec;
    small->i_atime = small->i_ctime = now.tv_sec;
    if (EXT2_INODE_SIZE(fs->super) > EXT2_GOOD_OLD_INODE_SIZE) {
        large->i_extra_isize = sizeof *large - EXT2_GOOD_OLD_INODE_SIZE;
        large->i_mtime_extra = extra_time(modified);
        large->i_crtime = now.tv_sec;
        large->i_atime_extra = large->i_ctime_extra = large->i_crtime_extra = extra_time(now);
    }
}

/* Copies status and attributes of a file to an inode that libext2fs created. */
static void copy_status(ext2_ino_t number, const char *name, const struct stat *status)
{
    static union inode inode;
    read_inode(number, &inode, name);
    set_status(&inode, status);
    write_inode(number, &inode, name);
    write_attributes(number, name, -1);
}

static int entry_type(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return EXT2_FT_REG_FILE;
    case S_IFLNK:
        return EXT2_FT_SYMLINK;
    case S_IFCHR:
        return EXT2_FT_CHRDEV;
    case S_IFBLK:
        return EXT2_FT_BLKDEV;
    case S_IFIFO:
        return EXT2_FT_FIFO;
    case S_IFSOCK:
        return EXT2_FT_SOCK;
    default:
        return EXT2_FT_UNKNOWN;
    }
}

static void write_link(struct directory *directory, const char *name, const struct stat *status,
                       ext2_ino_t number)
{
    static char target[PATH_MAX + 1]; /* static, since the recursion may be deep */
    char message[64];
    ssize_t length = readlink(name, target, PATH_MAX);
    check_call(length >= 0, name);
    target[length] = '\0';
    if (length >= (ssize_t)fs->blocksize) {
        snprintf(message, sizeof message, "is a link to a path of more than %u bytes",
                 fs->blocksize - 1);
        fail(name, message);
    }
    make_room(directory, name); /* before the link allocates a block */
    check(ext2fs_symlink(fs, directory->number, number, NULL, target), name);
    add_name(directory, name, number, EXT2_FT_SYMLINK);
    copy_status(number, name, status);
}

/* Like the kernel's old_encode_dev() and new_encode_dev(). */
static void set_device(struct ext2_inode *inode, dev_t device)
{
    unsigned high = major(device), low = minor(device);
    if (high < 256 && low < 256)
        inode->i_block[0] = high << 8 | low;
    else
        inode->i_block[1] = (low & 0xFF) | high << 8 | (low & ~0xFFU) << 12;
}

/* Writes a regular file (then `file` is the open file), a device, a pipe or a socket. */
static void write_file(struct directory *directory, const char *name, const struct stat *status,
                       ext2_ino_t number, int file)
{
    static union inode inode;
    struct ext2_inode *small = &inode.small;
    memset(&inode, 0, EXT2_INODE_SIZE(fs->super)); /* not sizeof: the union is large */
    set_status(&inode, status);
    small->i_links_count = 1;
    if (S_ISREG(status->st_mode)) {
        check(ext2fs_inode_size_set(fs, small, status->st_size), name);
        if (ext2fs_has_feature_extents(fs->super)) {
            struct ext3_extent_header *header = (struct ext3_extent_header *)small->i_block;
            header->eh_magic = ext2fs_cpu_to_le16(EXT3_EXT_MAGIC);
            header->eh_max = ext2fs_cpu_to_le16(EXTENTS_IN_INODE);
            small->i_flags |= EXT4_EXTENTS_FL;
        }
    } else if (S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode)) {
        set_device(small, status->st_rdev);
    }
    ext2fs_inode_alloc_stats2(fs, number, 1, 0);
    write_inode(number, &inode, name);
    add_name(directory, name, number, entry_type(status->st_mode));
    if (write_attributes(number, name, file))
        read_inode(number, &inode, name);
    if (status->st_size && S_ISREG(status->st_mode))
        write_content(number, small, name, file);
    else if (file >= 0)
        close(file);
}

/* Returns the record of a file with several names; `there` is 0 if the file is not written yet. */
static struct link *find_link(const struct stat *status, const char *name)
{
    struct link *link = malloc(sizeof *link);
    check_call(link, name);
    *link = (struct link){status->st_dev, status->st_ino, 0};
    struct link **found = tsearch(link, &links, compare_links);
    check_call(found, name);
    if (*found != link)
        free(link);
    return *found;
}

/* Writes another name of a file. */
static void write_name(struct directory *directory, const char *name, const struct stat *status,
                       ext2_ino_t number)
{
    static union inode inode;
    char message[64];
    read_inode(number, &inode, name);
    if (inode.small.i_links_count++ == MOST_LINKS) {
        snprintf(message, sizeof message, "exceeds the limit of %u names of a file",
                 MOST_LINKS);
        fail(name, message);
    }
    write_inode(number, &inode, name);
    add_name(directory, name, number, entry_type(status->st_mode));
}

static void write_tree(ext2_ino_t number);

/* mke2fs creates /lost+found. */
static bool is_lost_found(const struct directory *directory, const char *name)
{
    return directory->number == EXT2_ROOT_INO && strcmp(name, "lost+found") == 0;
}

static ext2_ino_t make_directory(struct directory *parent, const char *name,
                                 const struct stat *status)
{
    ext2_ino_t number;
    check(ext2fs_new_inode(fs, parent->number, status->st_mode, NULL, &number), name);
    make_room(parent, name); /* before the directory allocates a block */
    check(ext2fs_mkdir(fs, parent->number, number, NULL), name);
    add_name(parent, name, number, EXT2_FT_DIR);
    return number;
}

static void write_directory(struct directory *parent, const char *name, const struct stat *status)
{
    static unsigned depth;
    ext2_ino_t number;
    if (++depth > DEEPEST)
        fail(name, "is nested deeper than a path can name");
    if (is_lost_found(parent, name))
        check(ext2fs_lookup(fs, parent->number, name, strlen(name), NULL, &number), name);
    else
        number = make_directory(parent, name, status);
    copy_status(number, name, status);
    check_call(chdir(name) == 0, name);
    write_tree(number);
    check_call(chdir("..") == 0, NULL);
    depth--;
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* Reads the status of a file; opens a regular file, returns -1 for others. */
static int open_file(const struct dirent *entry, struct stat *status)
{
    const char *name = entry->d_name;
    if (entry->d_type != DT_REG) { /* or the filesystem does not report types */
        check_call(lstat(name, status) == 0, name);
        if (!S_ISREG(status->st_mode))
            return -1;
    }
    /* fstat() on the open file saves a second lookup of the path. */
    int file = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    check_call(file >= 0 && fstat(file, status) == 0, name);
    return file;
}

/* Writes anything but a directory. `file` is the open file, if it is a regular one. */
static void write_other(struct directory *directory, const char *name, const struct stat *status,
                        int file)
{
    if (is_lost_found(directory, name))
        fail(name, "is not a directory: ext4 reserves this name for e2fsck's directory");
    struct link *link = status->st_nlink > 1 ? find_link(status, name) : NULL;
    if (link && link->there) {
        write_name(directory, name, status, link->there);
        if (file >= 0)
            close(file);
        return;
    }
    ext2_ino_t number;
    check(ext2fs_new_inode(fs, directory->number, status->st_mode, NULL, &number), name);
    if (S_ISLNK(status->st_mode))
        write_link(directory, name, status, number);
    else
        write_file(directory, name, status, number, file);
    if (link)
        link->there = number;
}

/* Writes the content of the current directory. */
static void write_tree(ext2_ino_t number)
{
    struct directory directory;
    struct dirent **entries;
    int count = scandir(".", &entries, is_entry, alphasort);
    check_call(count >= 0, NULL);
    open_directory(&directory, number);
    for (int each = 0; each < count; each++) {
        struct stat status;
        int file = open_file(entries[each], &status);
        if (S_ISDIR(status.st_mode))
            write_directory(&directory, entries[each]->d_name, &status);
        else
            write_other(&directory, entries[each]->d_name, &status, file);
        free(entries[each]);
    }
    free(entries);
    close_directory(&directory);
}

/* Returns an argument that is a non-negative number. */
static long long number_of(const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < 0) {
        fprintf(stderr, "write-ext4: %s is not a number\n", text);
        exit(2);
    }
    return number;
}

int main(int argc, char *argv[])
{
    if (argc != 5) {
        fprintf(stderr, "usage: write-ext4 IMAGE OFFSET TREE EPOCH\n");
        return 2;
    }
    char options[64];
    struct stat status;
    long long offset = number_of(argv[2]), epoch = number_of(argv[4]);
    snprintf(options, sizeof options, "offset=%lld", offset);
    initialize_ext2_error_table();
    /* Checksums need no check: mke2fs or libext2fs wrote the data just now. */
    int flags = EXT2_FLAG_RW | EXT2_FLAG_64BITS | EXT2_FLAG_IGNORE_CSUM_ERRORS;
    check(ext2fs_open2(argv[1], options, flags, 0, 0, unix_io_manager, &fs), argv[1]);
    check(ext2fs_read_bitmaps(fs), argv[1]);
    /* libext2fs zeroes the blocks that it allocates for a file without extents: without its cache
     * it does so at once, not after the content was written. */
    if (!ext2fs_has_feature_extents(fs->super))
        check(io_channel_set_options(fs->io, "cache=off"), argv[1]);
    fs->now = epoch ? epoch : 1; /* 0 means the clock's time to libext2fs */
    start_copying(argv[1], offset);
    check_call(chdir(argv[3]) == 0 && lstat(".", &status) == 0, argv[3]);
    status.st_mtim = (struct timespec){.tv_sec = fs->now}; /* TREE's is its mount's */
    copy_status(EXT2_ROOT_INO, ".", &status);
    write_tree(EXT2_ROOT_INO);
    finish_copying();
    check(ext2fs_close2(fs, EXT2_FLAG_FLUSH_NO_SYNC), argv[1]);
    return 0;
}
