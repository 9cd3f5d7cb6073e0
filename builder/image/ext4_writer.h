/* SPDX-License-Identifier: MIT
 *
 * Declarations that the parts of write-ext4 share: see ext4_writer.c.
 */

#pragma once

#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <sys/types.h>

#define EXTENTS_IN_INODE 4 /* as many as i_block has room for, beside their header */

#ifndef MOST_LINKS
#define MOST_LINKS EXT2_LINK_MAX /* most names of a file, and most links to a directory */
#endif

extern ext2_filsys fs;

/* Ends the program. `name` is of a file, in the directory that is being written if it is no whole
 * path, or NULL for that directory. */
__attribute__((noreturn)) void fail(const char *name, const char *message);

/* Ends the program if libext2fs reports an error. */
void check(errcode_t error, const char *name);

/* Ends the program if a system call did not work. */
void check_call(bool worked, const char *name);

/* Content (ext4_content.c). */

/* Opens the image, in which the filesystem begins at byte `begin`. */
void start_copying(const char *path, off_t begin);

/* Allocates the blocks of a file that is not empty and has them filled; then it is closed. */
void write_content(ext2_ino_t number, struct ext2_inode *inode, const char *name, int file);

/* Waits until all content is in the image. */
void finish_copying(void);

/* Directories (ext4_directory.c): of a name, and of that alone, it is not checked whether it is
 * there already. */

struct directory {
    ext2_ino_t number;
    struct block *blocks;
    unsigned count;     /* of the blocks */
    unsigned links;     /* its own two names, and one of each directory in it */
    unsigned first[67]; /* by a fourth of an entry's length: the first block that may have room */
};

/* Reads a directory into memory. */
void open_directory(struct directory *directory, ext2_ino_t number);

/* Makes room for a name: its block, if one more is needed, is allocated now. */
void make_room(struct directory *directory, const char *name);

/* Adds a name, of the kind `type` (EXT2_FT_...). */
void add_name(struct directory *directory, const char *name, ext2_ino_t number, int type);

/* Writes a directory, and frees its memory. */
void close_directory(struct directory *directory);
