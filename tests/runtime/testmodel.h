/*
 * testmodel.h - small random models, written by the test that needs them.
 *
 * Any shape of nllb-moe or dense m2m_100, in any type, in one file or in shards. A value is a function of
 * (seed, tensor name, index) and has at most 8 significant bits, so f32, f16 and bf16 files of one seed hold
 * the same numbers, and a test can ask for any of them without reading the file.
 */
#ifndef DGM_TESTS_TESTMODEL_H
#define DGM_TESTS_TESTMODEL_H

#include "kernels/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct testmodel {
    const char *model_type; /* "nllb-moe", "nllb_moe", "m2m_100" */
    int d_model, vocab, positions;
    int layers[2], heads[2], ffn[2], step[2]; /* encoder, decoder */
    int experts, kept[2]; /* kept: how many of them the file has in each stack; 0: all */
    dgm_dtype dtype;
    bool prefix; /* names begin with `model.` */
    int shards;  /* 0: one file, no index */
    uint64_t seed;
    const char *embed_name; /* NULL: shared.weight; else the alias that is written instead */
    bool holes;             /* headers and sizes only; the data are holes (zeros) in the file */
    const char
        *config; /* JSON object merged into config.json; a null takes a key out; NULL: nothing */
    const char *generation; /* generation_config.json, tokenizer_config.json; NULL: no such file */
    const char *tokenizer;
    /* One tensor with a mistake: the file holds `wrong` rows too many (0: it is missing). NULL: none. */
    const char *broken;
    int wrong;
    const char *extra; /* name of a tensor that no model has; NULL: none */
} testmodel;

/* testmodel_small - 2 + 2 layers, every second an MoE of 4 experts, d 16, 2 heads, vocabulary 37, f32. */
testmodel testmodel_small(void);

/* testmodel_write - writes config.json and the weights to `dir`, which exists. Fails the test on an I/O error. */
void testmodel_write(const char *dir, const testmodel *spec);

/* testmodel_value - element `index` of tensor `name` (without prefix), row-major. */
float testmodel_value(const testmodel *spec, const char *name, size_t index);

/* testmodel_dir - makes a fresh directory and returns its malloc'ed path; testmodel_remove deletes it and frees. */
char *testmodel_dir(void);
void testmodel_remove(char *dir);

/* testmodel_file - writes a file in `dir`. */
void testmodel_file(const char *dir, const char *name, const void *data, size_t bytes);

#endif
