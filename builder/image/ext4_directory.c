/* SPDX-License-Identifier: MIT
 *
 * write-ext4: the blocks of a directory stay in memory while names are added.
 *
 * ext2fs_link() reads and checks a directory from its first block on for every name: 100,000 names
 * take more than a minute. This code adds a name to the same block as ext2fs_link(), the first one
 * with enough space, but it remembers for each length of an entry where to begin the search.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ext4_writer.h"

struct block {
    blk64_t place;
    char *bytes;
    unsigned last; /* offset of the last entry */
    unsigned room; /* bytes of that entry that are unused */
    bool changed;
};

static struct ext2_dir_entry *entry_at(const struct block *block, unsigned at)
{
    return (struct ext2_dir_entry *)(block->bytes + at);
}

/* Returns the number of bytes that an entry needs. */
static unsigned needed_by(const struct ext2_dir_entry *entry)
{
    return entry->inode ? EXT2_DIR_REC_LEN(ext2fs_dirent_name_len(entry)) : 0;
}

/* Finds the last entry of a block; a checksum may follow it. */
static void find_last(struct block *block)
{
    bool sum = ext2fs_has_feature_metadata_csum(fs->super);
    unsigned end = fs->blocksize - (sum ? sizeof(struct ext2_dir_entry_tail) : 0);
    unsigned length;
    for (unsigned at = 0; at < end; at += length) {
        check(ext2fs_get_rec_len(fs, entry_at(block, at), &length), NULL);
        if (length < EXT2_DIR_REC_LEN(1) || length > end - at)
            check(EXT2_ET_DIR_CORRUPTED, NULL);
        block->last = at;
        block->room = length - needed_by(entry_at(block, at));
    }
}

/* Reads the next block of a directory. */
static void read_block(struct directory *directory)
{
    unsigned count = directory->count;
    if ((count & (count - 1)) == 0) { /* the array is full: 0, 1, 2, 4, ... */
        size_t size = (count ? 2 * count : 1) * sizeof *directory->blocks;
        directory->blocks = realloc(directory->blocks, size);
        check_call(directory->blocks, NULL);
    }
    struct block *block = &directory->blocks[directory->count++];
    *block = (struct block){.bytes = malloc(fs->blocksize)};
    check_call(block->bytes, NULL);
    check(ext2fs_bmap2(fs, directory->number, NULL, NULL, 0, count, NULL, &block->place), NULL);
    check(ext2fs_read_dir_block4(fs, block->place, block->bytes, 0, directory->number), NULL);
    find_last(block);
}

void open_directory(struct directory *directory, ext2_ino_t number)
{
    struct ext2_inode inode;
    check(ext2fs_read_inode(fs, number, &inode), NULL);
    *directory = (struct directory){.number = number, .links = inode.i_links_count};
    while ((__u64)directory->count * fs->blocksize < EXT2_I_SIZE(&inode))
        read_block(directory);
}

void make_room(struct directory *directory, const char *name)
{
    unsigned needed = EXT2_DIR_REC_LEN(strlen(name));
    unsigned *first = &directory->first[needed / 4];
    while (*first < directory->count && directory->blocks[*first].room < needed)
        ++*first;
    if (*first < directory->count)
        return;
    check(ext2fs_expand_dir(fs, directory->number), name);
    read_block(directory);
}

/* Counts a new subdirectory. */
static void count_link(struct directory *directory, const char *name)
{
    char message[128];
    if (++directory->links <= MOST_LINKS || ext2fs_has_feature_dir_nlink(fs->super))
        return;
    snprintf(message, sizeof message,
             "exceeds the limit of %u subdirectories, since the filesystem lacks the feature "
             "dir_nlink",
             MOST_LINKS - 2);
    fail(name, message);
}

void add_name(struct directory *directory, const char *name, ext2_ino_t number, int type)
{
    make_room(directory, name);
    unsigned length = strlen(name), needed = EXT2_DIR_REC_LEN(length);
    struct block *block = &directory->blocks[directory->first[needed / 4]];
    struct ext2_dir_entry *entry = entry_at(block, block->last);
    unsigned before = needed_by(entry);
    if (before) {
        check(ext2fs_set_rec_len(fs, before, entry), name);
        block->last += before;
        entry = entry_at(block, block->last);
    }
    check(ext2fs_set_rec_len(fs, block->room, entry), name);
    entry->inode = number;
    ext2fs_dirent_set_name_len(entry, length);
    ext2fs_dirent_set_file_type(entry, ext2fs_has_feature_filetype(fs->super) ? type : 0);
    memcpy(entry->name, name, length);
    block->room -= needed;
    block->changed = true;
    if (type == EXT2_FT_DIR)
        count_link(directory, name);
}

/* Sets the links of a directory with very many subdirectories to 1: feature dir_nlink, ext4(5). */
static void write_links(const struct directory *directory)
{
    struct ext2_inode inode;
    check(ext2fs_read_inode(fs, directory->number, &inode), NULL);
    inode.i_links_count = 1;
    check(ext2fs_write_inode(fs, directory->number, &inode), NULL);
}

void close_directory(struct directory *directory)
{
    for (unsigned each = 0; each < directory->count; each++) {
        struct block *block = &directory->blocks[each];
        if (block->changed)
            check(ext2fs_write_dir_block4(fs, block->place, block->bytes, 0, directory->number),
                  NULL);
        free(block->bytes);
    }
    free(directory->blocks);
    if (directory->links > MOST_LINKS)
        write_links(directory);
}
