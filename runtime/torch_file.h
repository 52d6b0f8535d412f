/*
 * torch_file.h - the tensors of a file that torch.save() wrote (pytorch_model.bin): a zip of stored entries with a
 * pickle of names, types and shapes beside the bytes of each storage. Nothing in it is executed.
 */
#ifndef DGM_RUNTIME_TORCH_FILE_H
#define DGM_RUNTIME_TORCH_FILE_H

#include "runtime/safetensors.h"

/*
 * dgm_torch_read - as dgm_st_parse: tensors of the open file fd by ascending offset, each inside the file and row-major.
 * Two tensors may share bytes (tied weights do). dgm_st_header_fini frees. DGM_EMODEL.
 */
DGM_MUST_CHECK int dgm_torch_read(dgm_st_header *out, const char *path, int fd,
                                  uint64_t file_bytes);

#endif
