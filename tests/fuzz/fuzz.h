/* fuzz.h - what libFuzzer, or replay.c in builds without it, calls. */
#ifndef DGM_TESTS_FUZZ_H
#define DGM_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
