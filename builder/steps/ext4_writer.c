/* SPDX-License-Identifier: MIT
 *
 * Writes the tree of a directory into an empty ext2, ext3 or ext4 that mke2fs made:
 *
 *     write-ext4 IMAGE OFFSET TREE EPOCH
 *
 * The filesystem begins at byte OFFSET of the file IMAGE. Files keep mode, owner, modification
 * time and extended attributes; all other times, and that of TREE itself, become EPOCH, in seconds
 * since 1970. For the same tree the same bytes are written.
 *
 * `mke2fs -d` does the same, but finds a place for each block alone and writes it alone, which
 * takes twice as long. Here libext2fs allocates the blocks of a file at once, and a second thread
 * brings the content there while the first goes on with the next file.
 *
 * Holes of files become zeros that are there. Nothing is waited for to reach the disk.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <ext2fs/ext3_extents.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CHUNK (256 << 10)     /* bytes written at once: a multiple of every size of a block */
#define BATCH 64              /* parts handed on at once, each with an open file */
#define ATTRIBUTES (64 << 10) /* most bytes of names of attributes, and of a value: xattr(7) */
#define EXTENTS_IN_INODE 4    /* as many as i_block has room for, beside their header */

static ext2_filsys fs;
static int image;
static off_t offset;

/* Ends the program. `name` is of a file, in the directory that is being written if it is no whole
 * path, or NULL for that directory. */
__attribute__((noreturn)) static void fail(const char *name, const char *message)
{
    char here[PATH_MAX] = "";
    bool whole = name && *name == '/';
    if (!whole && !getcwd(here, sizeof here))
        *here = '\0';
    fprintf(stderr, "write-ext4: %s%s%s: %s\n", here, whole ? "" : "/", name ? name : "", message);
    _exit(1);
}

static void check(errcode_t error, const char *name)
{
    if (error)
        fail(name, error_message(error));
}

static void check_call(bool worked, const char *name)
{
    if (!worked)
        fail(name, strerror(errno));
}

/* Content, which a second thread copies. */

/* A part of a file: `length` bytes from `from` on go to `to` of the image. After the last one the
 * file is closed. */
struct part {
    int file;
    bool last;
    off_t from, to, length;
};

/* Parts that the first thread collects, and those that the second may take: so many at once that
 * the two seldom wait for each other. */
static struct batch {
    struct part parts[BATCH];
    unsigned count;
} collected, offered;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool ended;

/* Hands on what was collected; `last` says that no more will be. */
static void offer(bool last)
{
    pthread_mutex_lock(&lock);
    while (offered.count)
        pthread_cond_wait(&changed, &lock);
    offered = collected;
    collected.count = 0;
    ended = last;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

/* Waits for a batch; returns whether there is one more. */
static bool take(struct batch *batch)
{
    pthread_mutex_lock(&lock);
    while (!offered.count && !ended)
        pthread_cond_wait(&changed, &lock);
    *batch = offered;
    offered.count = 0;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    return batch->count != 0;
}

/* Fails with the path of an open file. */
__attribute__((noreturn)) static void fail_at(int file, const char *message)
{
    char link[32], path[PATH_MAX] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    if (readlink(link, path, sizeof path - 1) < 0)
        *path = '\0';
    fail(path, message);
}

/* What is to be written at `at` of the image: neighbours are written together. */
static struct {
    char bytes[CHUNK];
    size_t used;
    off_t at;
} buffer;

static void flush(void)
{
    for (size_t done = 0; done < buffer.used;) {
        ssize_t more = pwrite(image, buffer.bytes + done, buffer.used - done, buffer.at + done);
        if (more < 0)
            fail_at(image, strerror(errno));
        done += more;
    }
    buffer.used = 0;
}

static void copy(const struct part *part)
{
    for (off_t done = 0; done < part->length;) {
        if (part->to + done != buffer.at + (off_t)buffer.used || buffer.used == CHUNK)
            flush();
        if (!buffer.used)
            buffer.at = part->to + done;
        size_t left = part->length - done, room = CHUNK - buffer.used;
        ssize_t got = pread(part->file, buffer.bytes + buffer.used, left < room ? left : room,
                            part->from + done);
        if (got <= 0)
            fail_at(part->file, got ? strerror(errno) : "became shorter while it was read");
        buffer.used += got;
        done += got;
    }
    /* Whole blocks: what is a hole in the image keeps on a card what was there before. */
    size_t padding = -buffer.used % fs->blocksize;
    memset(buffer.bytes + buffer.used, 0, padding);
    buffer.used += padding;
    if (part->last)
        close(part->file);
}

static void *copy_batches(void *nothing)
{
    static struct batch batch;
    while (take(&batch))
        for (unsigned each = 0; each < batch.count; each++)
            copy(&batch.parts[each]);
    flush();
    return nothing;
}

/* A file whose content is put where its blocks are. */
struct content {
    const char *name;
    int file;
    off_t size;
};

/* Puts what belongs into `count` blocks, which begin with the file's block `first`, to `place`. */
static void put(const struct content *content, blk64_t first, blk64_t place, blk64_t count)
{
    off_t from = (off_t)first * fs->blocksize, to = from + (off_t)count * fs->blocksize;
    bool last = to >= content->size;
    collected.parts[collected.count++] = (struct part){
        .file = content->file,
        .last = last,
        .from = from,
        .to = offset + (off_t)place * fs->blocksize,
        .length = (last ? content->size : to) - from,
    };
    if (collected.count == BATCH)
        offer(false);
}

static void put_extents(const struct content *content, ext2_ino_t number, struct ext2_inode *inode,
                        blk64_t blocks, blk64_t *after)
{
    ext2_extent_handle_t extents;
    struct ext2fs_extent extent;
    unsigned count = 0;
    errcode_t error;
    check(ext2fs_extent_open2(fs, number, inode, &extents), content->name);
    int move = EXT2_EXTENT_ROOT;
    while (!(error = ext2fs_extent_get(extents, move, &extent))) {
        move = EXT2_EXTENT_NEXT;
        if (!(extent.e_flags & EXT2_EXTENT_FLAGS_LEAF) ||
            extent.e_flags & EXT2_EXTENT_FLAGS_SECOND_VISIT)
            continue;
        put(content, extent.e_lblk, extent.e_pblk, extent.e_len);
        *after = extent.e_pblk + extent.e_len;
        blocks -= extent.e_len;
        count++;
    }
    ext2fs_extent_free(extents);
    if (error != EXT2_ET_EXTENT_NO_NEXT)
        check(error, content->name);
    if (blocks)
        fail(content->name, "not all of its blocks were allocated");
    /* Where extents have blocks of their own, ext2fs_fallocate() leaves their number to others. */
    if (count > EXTENTS_IN_INODE)
        check(ext2fs_write_inode(fs, number, inode), content->name);
}

static void put_blocks(const struct content *content, ext2_ino_t number, struct ext2_inode *inode,
                       blk64_t blocks)
{
    blk64_t place = 0, run = 0, next;
    for (blk64_t block = 0; block < blocks; block++, run++) {
        check(ext2fs_bmap2(fs, number, inode, NULL, 0, block, NULL, &next), content->name);
        if (!next)
            fail(content->name, "not all of its blocks were allocated");
        if (run && next != place + run) {
            put(content, block - run, place, run);
            run = 0;
        }
        if (!run)
            place = next;
    }
    put(content, blocks - run, place, run);
}

/* Allocates the blocks of a file, and has them filled. Then the file is closed. */
static void write_content(ext2_ino_t number, struct ext2_inode *inode, const char *name, int file)
{
    static blk64_t goal = ~0ULL; /* the first file's: near its inode; others': after the last */
    struct content content = {name, file, EXT2_I_SIZE(inode)};
    blk64_t blocks = (content.size + fs->blocksize - 1) / fs->blocksize;
    check(ext2fs_fallocate(fs, EXT2_FALLOCATE_FORCE_INIT, number, inode, goal, 0, blocks), name);
    if (inode->i_flags & EXT4_EXTENTS_FL)
        put_extents(&content, number, inode, blocks, &goal);
    else
        put_blocks(&content, number, inode, blocks);
}

/* Names, and all that an inode holds but content. */

/* Files with several names: the numbers of the inodes that they have here and there. */
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

/* `file` is the file open, or -1. Returns whether there are any: then the inode is another. */
static bool write_attributes(ext2_ino_t number, const char *name, int file)
{
    static char names[ATTRIBUTES], value[ATTRIBUTES];
    ssize_t length = file >= 0 ? flistxattr(file, names, sizeof names)
                               : llistxattr(name, names, sizeof names);
    if (length == 0 || (length < 0 && errno == ENOTSUP))
        return false;
    check_call(length > 0, name);
    struct ext2_xattr_handle *attributes;
    check(ext2fs_xattrs_open(fs, number, &attributes), name);
    check(ext2fs_xattrs_read(attributes), name);
    /* In an order that does not depend on where the tree lies. */
    const char *sorted[ATTRIBUTES / 2];
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

/* An inode with all that the filesystem has room for: 128 bytes, or more of them (256). */
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

/* What of a time has no room in 32 bits of seconds, as the kernel's ext4_encode_extra_time(). */
static __u32 rest_of(struct timespec time)
{
    __u64 epochs = (__u64)time.tv_sec - (__s32)time.tv_sec;
    return time.tv_nsec << 2 | (epochs >> 32 & 3);
}

static void set_status(union inode *inode, const struct stat *status)
{
    struct ext2_inode *small = &inode->small;
    struct ext2_inode_large *large = &inode->large;
    small->i_mode = status->st_mode;
    small->i_uid = status->st_uid & 0xFFFF;
    ext2fs_set_i_uid_high(*small, status->st_uid >> 16);
    small->i_gid = status->st_gid & 0xFFFF;
    ext2fs_set_i_gid_high(*small, status->st_gid >> 16);
    small->i_mtime = status->st_mtime;
    small->i_atime = small->i_ctime = fs->now;
    if (EXT2_INODE_SIZE(fs->super) > EXT2_GOOD_OLD_INODE_SIZE) {
        __u32 rest = rest_of((struct timespec){.tv_sec = fs->now});
        large->i_extra_isize = sizeof *large - EXT2_GOOD_OLD_INODE_SIZE;
        large->i_mtime_extra = rest_of(status->st_mtim);
        large->i_crtime = fs->now;
        large->i_atime_extra = large->i_ctime_extra = large->i_crtime_extra = rest;
    }
}

/* Gives an inode that libext2fs made the status and the attributes of a file. */
static void dress(ext2_ino_t number, const char *name, const struct stat *status)
{
    static union inode inode;
    read_inode(number, &inode, name);
    set_status(&inode, status);
    write_inode(number, &inode, name);
    write_attributes(number, name, -1);
}

/* Does `...` again with a larger directory if there was no room for another name. */
#define WITH_ROOM(directory, name, ...)                                                            \
    do {                                                                                           \
        errcode_t error = (__VA_ARGS__);                                                           \
        if (error == EXT2_ET_DIR_NO_SPACE) {                                                       \
            check(ext2fs_expand_dir(fs, directory), name);                                         \
            error = (__VA_ARGS__);                                                                 \
        }                                                                                          \
        check(error, name);                                                                        \
    } while (0)

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

static void write_link(ext2_ino_t directory, const char *name, const struct stat *status,
                       ext2_ino_t number)
{
    char target[PATH_MAX + 1] = "";
    check_call(readlink(name, target, PATH_MAX) >= 0, name);
    WITH_ROOM(directory, name, ext2fs_symlink(fs, directory, number, name, target));
    dress(number, name, status);
}

/* As the kernel's old_encode_dev() and new_encode_dev(). */
static void set_device(struct ext2_inode *inode, dev_t device)
{
    unsigned high = major(device), low = minor(device);
    if (high < 256 && low < 256)
        inode->i_block[0] = high << 8 | low;
    else
        inode->i_block[1] = (low & 0xFF) | high << 8 | (low & ~0xFFU) << 12;
}

/* `file` is the file open, if it is a regular one. */
static void write_file(ext2_ino_t directory, const char *name, const struct stat *status,
                       ext2_ino_t number, int file)
{
    static union inode inode;
    struct ext2_inode *small = &inode.small;
    memset(&inode, 0, EXT2_INODE_SIZE(fs->super)); /* not all of it: it is large */
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
    WITH_ROOM(directory, name,
              ext2fs_link(fs, directory, name, number, entry_type(status->st_mode)));
    if (write_attributes(number, name, file))
        read_inode(number, &inode, name);
    if (status->st_size && S_ISREG(status->st_mode))
        write_content(number, small, name, file);
    else if (file >= 0)
        close(file);
}

/* Returns what is known of a file with several names; `there` is 0 if nothing is yet. */
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

/* Writes one more name of a file. */
static void write_name(ext2_ino_t directory, const char *name, const struct stat *status,
                       ext2_ino_t number)
{
    static union inode inode;
    read_inode(number, &inode, name);
    inode.small.i_links_count++;
    write_inode(number, &inode, name);
    WITH_ROOM(directory, name,
              ext2fs_link(fs, directory, name, number, entry_type(status->st_mode)));
}

static void write_tree(ext2_ino_t directory);

static void write_directory(ext2_ino_t parent, const char *name, const struct stat *status)
{
    ext2_ino_t number;
    /* mke2fs has made a /lost+found. */
    if (parent != EXT2_ROOT_INO ||
        ext2fs_lookup(fs, parent, name, strlen(name), NULL, &number) != 0) {
        check(ext2fs_new_inode(fs, parent, status->st_mode, NULL, &number), name);
        WITH_ROOM(parent, name, ext2fs_mkdir(fs, parent, number, name));
    }
    dress(number, name, status);
    int above = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    check_call(above >= 0 && chdir(name) == 0, name);
    write_tree(number);
    check_call(fchdir(above) == 0, NULL);
    close(above);
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* Tells a file's status; opens it if it is a regular one, else returns -1. */
static int look(const struct dirent *entry, struct stat *status)
{
    const char *name = entry->d_name;
    if (entry->d_type != DT_REG) { /* or the filesystem does not tell the kind with the name */
        check_call(lstat(name, status) == 0, name);
        if (!S_ISREG(status->st_mode))
            return -1;
    }
    /* With the file open, its path is looked up once. */
    int file = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    check_call(file >= 0 && fstat(file, status) == 0, name);
    return file;
}

/* Writes all that is no directory. `file` is the file open, if it is a regular one. */
static void write_other(ext2_ino_t directory, const char *name, const struct stat *status, int file)
{
    struct link *link = status->st_nlink > 1 ? find_link(status, name) : NULL;
    if (link && link->there) {
        write_name(directory, name, status, link->there);
        if (file >= 0)
            close(file);
        return;
    }
    ext2_ino_t number;
    check(ext2fs_new_inode(fs, directory, status->st_mode, NULL, &number), name);
    if (S_ISLNK(status->st_mode))
        write_link(directory, name, status, number);
    else
        write_file(directory, name, status, number, file);
    if (link)
        link->there = number;
}

/* Writes what is in the current directory. */
static void write_tree(ext2_ino_t directory)
{
    struct dirent **entries;
    int count = scandir(".", &entries, is_entry, alphasort);
    check_call(count >= 0, NULL);
    for (int each = 0; each < count; each++) {
        struct stat status;
        int file = look(entries[each], &status);
        if (S_ISDIR(status.st_mode))
            write_directory(directory, entries[each]->d_name, &status);
        else
            write_other(directory, entries[each]->d_name, &status, file);
        free(entries[each]);
    }
    free(entries);
}

/* Returns a number that is not negative, of an argument. */
static long long number_of(const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < 0) {
        fprintf(stderr, "write-ext4: %s is no number\n", text);
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
    pthread_t copier;
    offset = number_of(argv[2]);
    long long epoch = number_of(argv[4]);
    snprintf(options, sizeof options, "offset=%lld", (long long)offset);
    initialize_ext2_error_table();
    image = open(argv[1], O_WRONLY | O_CLOEXEC);
    check_call(image >= 0, argv[1]);
    /* What is read here was written just now, by mke2fs or libext2fs: no need to check that. */
    int flags = EXT2_FLAG_RW | EXT2_FLAG_64BITS | EXT2_FLAG_IGNORE_CSUM_ERRORS;
    check(ext2fs_open2(argv[1], options, flags, 0, 0, unix_io_manager, &fs), argv[1]);
    check(ext2fs_read_bitmaps(fs), argv[1]);
    /* Of a file without extents, libext2fs zeroes the blocks that it allocates: at once, not when
     * the content is there already. */
    if (!ext2fs_has_feature_extents(fs->super))
        check(io_channel_set_options(fs->io, "cache=off"), argv[1]);
    fs->now = epoch ? epoch : 1; /* for 0 libext2fs takes the clock's time */
    check_call(chdir(argv[3]) == 0 && lstat(".", &status) == 0, argv[3]);
    errno = pthread_create(&copier, NULL, copy_batches, NULL);
    check_call(errno == 0, NULL);
    status.st_mtim = (struct timespec){.tv_sec = fs->now}; /* a mount's own */
    dress(EXT2_ROOT_INO, ".", &status);
    write_tree(EXT2_ROOT_INO);
    offer(true);
    pthread_join(copier, NULL);
    check(ext2fs_close2(fs, EXT2_FLAG_FLUSH_NO_SYNC), argv[1]);
    check_call(close(image) == 0, argv[1]);
    return 0;
}
