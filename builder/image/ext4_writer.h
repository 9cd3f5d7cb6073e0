/* SPDX-License-Identifier: MIT
 *
 * Shared declarations of write-ext4; ext4_writer.c describes the program.
 */

#pragma once

#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <sys/types.h>

#define EXTENTS_IN_INODE 4 /* extents that fit into i_block beside their header */

#ifndef MOST_LINKS
#define MOST_LINKS EXT2_LINK_MAX /* limit of the links to a file or directory */
#endif

extern ext2_filsys fs;

/* Ends the program with a message about a file. `name` is absolute, or relative to the current
 * directory; NULL is the current directory. */
__attribute__((noreturn)) void fail(const char *name, const char *message);

/* Ends the program if libext2fs reports an error. */
void check(errcode_t error, const char *name);

/* Ends the program if a system call failed. */
void check_call(bool worked, const char *name);

/* Content (ext4_content.c). */

/* Opens the image and starts the second thread. The filesystem begins at byte `begin`. */
void start_copying(const char *path, off_t begin);

/* Allocates the blocks of a non-empty file; the second thread copies its content and closes it. */
void write_content(ext2_ino_t number, struct ext2_inode *inode, const char *name, int file);

/* Waits until all content is written. */
void finish_copying(void);

/* Directories (ext4_directory.c). The caller makes sure that names are unique. */

struct directory {
    ext2_ino_t number;
    struct block *blocks;
    unsigned count;     /* number of blocks */
    unsigned links;     /* its own two links, and one for each subdirectory */
    unsigned first[67]; /* first block that may have space, by length of entry / 4 */
};

/* Reads a directory into memory. */
void open_directory(struct directory *directory, ext2_ino_t number);

/* Makes room for a name; allocates a block if necessary. */
void make_room(struct directory *directory, const char *name);

/* Adds a name of the type `type` (EXT2_FT_...). */
void add_name(struct directory *directory, const char *name, ext2_ino_t number, int type);

/* Writes a directory and frees its memory. */
void close_directory(struct directory *directory);
