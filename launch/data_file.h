/* data_file.h - files that come with the program: in a checkout beside the build folder, installed in share/dragoman. */
#ifndef DGM_LAUNCH_DATA_FILE_H
#define DGM_LAUNCH_DATA_FILE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * dgm_data_find - *dir: a folder that holds `proof`. A checkout has it as `in_tree`; installed it is `in_share` below
 * ../share/dragoman of the binary (so a moved tree works), or where it was configured to be. False: dir is the last.
 */
bool dgm_data_find(char *dir, size_t size, const char *in_tree, const char *in_share,
                   const char *proof);

#endif
