/* SPDX-License-Identifier: MIT
 *
 * write-ext4: a second thread copies the content of files.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ext4_writer.h"

#define CHUNK (256 << 10) /* bytes per write; a multiple of all block sizes */
#define BATCH 64          /* parts per batch, each with an open file */

static int image;
static off_t offset;
static pthread_t copier;

/* A part of a file: `length` bytes at offset `from` are copied to offset `to` of the image. After
 * the last part the file is closed. */
struct part {
    int file;
    bool last;
    off_t from, to, length;
};

/* The batch that the first thread collects, and the one that the second thread may take. Batches
 * are large enough that the threads seldom wait for each other. */
static struct batch {
    struct part parts[BATCH];
    unsigned count;
} collected, offered;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool ended;

/* Hands the collected batch to the second thread; `last`: there will be no more batches. */
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

/* Waits for a batch; returns false after the last one. */
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

/* Ends the program with the path of an open file. */
__attribute__((noreturn)) static void fail_at(int file, const char *message)
{
    char link[32], path[PATH_MAX] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    if (readlink(link, path, sizeof path - 1) < 0)
        *path = '\0';
    fail(path, message);
}

/* Bytes to write at offset `at` of the image; adjacent parts are written together. */
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
    /* Pad to a whole block: on a card, holes of the image keep their old data. */
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

/* A file whose content is copied to its blocks. */
struct content {
    const char *name;
    int file;
    off_t size;
};

/* Adds the `count` blocks of the file from block `first` on to the batch, for `place` in the image.
 * */
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
    /* ext2fs_fallocate() does not write the number of blocks that the extent tree itself uses. */
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

void write_content(ext2_ino_t number, struct ext2_inode *inode, const char *name, int file)
{
    static blk64_t goal = ~0ULL; /* the first file: near its inode; others: after the last */
    struct content content = {name, file, EXT2_I_SIZE(inode)};
    blk64_t blocks = (content.size + fs->blocksize - 1) / fs->blocksize;
    check(ext2fs_fallocate(fs, EXT2_FALLOCATE_FORCE_INIT, number, inode, goal, 0, blocks), name);
    if (inode->i_flags & EXT4_EXTENTS_FL)
        put_extents(&content, number, inode, blocks, &goal);
    else
        put_blocks(&content, number, inode, blocks);
}

void start_copying(const char *path, off_t begin)
{
    offset = begin;
    image = open(path, O_WRONLY | O_CLOEXEC);
    check_call(image >= 0, path);
    errno = pthread_create(&copier, NULL, copy_batches, NULL);
    check_call(errno == 0, path);
}

void finish_copying(void)
{
    offer(true);
    pthread_join(copier, NULL);
    check_call(close(image) == 0, NULL);
}
