/*
 * zip.h - where the stored entries of a zip archive lie in their file; zip64, no compression, no encryption.
 *
 * Only the directory at the end is read, and an entry's own header when it is asked for. Everything is checked before
 * it is believed: an entry that came out of here lies in the file, before the directory.
 */
#ifndef DGM_RUNTIME_ZIP_H
#define DGM_RUNTIME_ZIP_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dgm_zip dgm_zip;

/* dgm_zip_open - reads the directory of the archive fd, which stays the caller's and must outlive the zip; `path` is
 * kept, for sentences. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_zip_open(dgm_zip **out, const char *path, int fd, uint64_t file_bytes);
void dgm_zip_close(dgm_zip *z);

/* dgm_zip_ending - the first name of an entry, in order of names, that ends so; NULL: none. Not NUL-terminated
 * there, so its length is *len. */
const char *dgm_zip_ending(const dgm_zip *z, const char *ending, size_t *len);

/* dgm_zip_find - the bytes of an entry, from the first byte of the file. DGM_EMODEL when there is none, or it is
 * compressed, encrypted or outside the file. */
DGM_MUST_CHECK int dgm_zip_find(uint64_t *begin, uint64_t *bytes, const dgm_zip *z,
                                const char *name);

#endif
