/*
 * synth.h - models of random weights, of any shape, to measure what a model costs before it is downloaded.
 *
 * dgm_synth_like      a known shape; the caller changes what it likes
 * dgm_synth_check     can it be run
 * dgm_synth_write     the directory, tensor by tensor: memory does not grow with the model
 *
 * A value is a function of (seed, tensor name, place), so threads and order do not matter and the same spec gives the same
 * bytes. Matrices have a standard deviation near 1 / sqrt(inputs), so activations neither vanish nor grow; values of f32
 * and bf16 files are the same numbers (few bits times a power of two). Integers are drawn as they lie in the file.
 */
#ifndef DGM_RUNTIME_SYNTH_H
#define DGM_RUNTIME_SYNTH_H

#include "base/pool.h"
#include "runtime/model.h"
#include "runtime/safetensors.h"

/* Languages whose experts are known beforehand (runtime/synth_planted.h); 0: none. */
enum { DGM_PLANTED_LANGUAGES = 12 };
typedef struct dgm_planting {
    int languages;
    bool eos; /* one expert of the last decoder layer alone makes translations end */
    int32_t ids[DGM_PLANTED_LANGUAGES]; /* of their codes */
} dgm_planting;

typedef struct dgm_synth {
    const char *like; /* name of the shape that it began with */
    int d_model, vocab_size, positions;
    int layers[DGM_STACKS], heads[DGM_STACKS], ffn[DGM_STACKS], sparse_step[DGM_STACKS];
    int experts;          /* of each sparse layer; 0: a dense model (m2m_100) */
    int kept[DGM_STACKS]; /* how many of them there are, as if pruned; both 0: all */
    int top_k;            /* 2, or 1 (Switch) */
    double token_dropout; /* moe_token_dropout */
    enum dgm_routing routing[DGM_STACKS]; /* token, sentence or task */
    int tasks;                            /* target languages, where a stack is routed by task */
    /* packed: our own layout (docs/adr/0006) with these types; else a Hugging Face directory of type `dense`, F32 or BF16 */
    bool packed;
    dgm_wtype experts_type, dense_type;
    int group; /* integers: inputs that share a scale, 0: all */
    uint64_t seed;
    double router_spread; /* standard deviation of router logits, to the nearest power of two */
    dgm_planting plant;
} dgm_synth;

/* dgm_synth_like - "nllb-moe-54b", "elephants-5b", "dense-3.3b", "dense-1.3b", "dense-600m", "demo". DGM_EUSAGE. */
DGM_MUST_CHECK int dgm_synth_like(dgm_synth *out, const char *like);

/* dgm_synth_check - the shape fits together. DGM_EUSAGE with the option's name. */
DGM_MUST_CHECK int dgm_synth_check(const dgm_synth *s);

/* What is written: tensors in the order of the file, and how to fill each. */
enum dgm_synth_fill {
    DGM_SYNTH_VALUES, /* small whole numbers times 2^exponent */
    DGM_SYNTH_NORM,   /* near 1 */
    DGM_SYNTH_TASKS, /* values, but those of a task's two experts, which are larger than all others */
    DGM_SYNTH_INT8,
    DGM_SYNTH_INT4,
    DGM_SYNTH_SCALES /* near 2^exponent */
};

typedef struct dgm_synth_tensor {
    char name[112];
    const char *type; /* "F32", "BF16", "I8", "U8" */
    int n_dims;
    uint64_t dims[DGM_TENSOR_DIMS], bytes;
    bool unit, page; /* as in runtime/model_writer.h */
    enum dgm_synth_fill fill;
    int exponent;
    bool panels; /* [panels of 16 outputs, ..]: outputs past n and inputs past k are zero */
    int n, k,
        per; /* panels: outputs, inputs (groups of a scale); inputs that lie in 64 bytes side by side */
} dgm_synth_tensor;

typedef struct dgm_synth_list {
    dgm_synth_tensor *tensors; /* [n] */
    size_t n, cap;
    uint64_t params; /* weights, scales not counted */
    const dgm_synth *spec;
} dgm_synth_list;

/* dgm_synth_list_make - of a checked spec, which the list refers to. DGM_ENOMEM. dgm_synth_list_free undoes it. */
DGM_MUST_CHECK int dgm_synth_list_make(dgm_synth_list *out, const dgm_synth *s);
void dgm_synth_list_free(dgm_synth_list *l);

/*
 * dgm_synth_fill_part - bytes begin .. begin + bytes of tensor i as they lie in the file; both multiples of
 * DGM_SYNTH_UNIT, or up to the tensor's end. Any thread.
 */
enum { DGM_SYNTH_UNIT = 64 };
void dgm_synth_fill_part(void *dst, const dgm_synth_list *l, size_t i, uint64_t seed,
                         uint64_t begin, size_t bytes);

/* dgm_synth_task - code of a task's language; NULL: there are not so many. */
const char *dgm_synth_task(int task);

/* dgm_synth_task_experts - what a task chooses of a layer's n_experts, best first; key is the table's. Tasks have different
 * ones as long as there are enough. */
void dgm_synth_task_experts(int pair[2], uint64_t key, int n_experts, int task);

/* dgm_synth_put_tasks - elements first .. first + n of a table of tasks at dst, F32 or BF16, random so far. */
void dgm_synth_put_tasks(void *dst, const dgm_synth_tensor *t, uint64_t key, uint64_t first,
                         size_t n);

/*
 * dgm_synth_write - makes the directory `dir`, which must not exist, with weights, configuration, README and the
 * tokeniser of the model directory `tokenizer`. Works in DIR.part, which becomes DIR when it is whole; a DIR.part that
 * a killed run left is no model, and is written anew. After a failure nothing stays. DGM_EOUTPUT, DGM_EMODEL (the
 * tokeniser).
 */
DGM_MUST_CHECK int dgm_synth_write(const dgm_synth *s, const char *dir, const char *tokenizer,
                                   dgm_pool *pool);

/* The files of a model directory that are text, each malloc'ed. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_synth_config_json(char **text, const dgm_synth *s);
DGM_MUST_CHECK int dgm_synth_generation_json(char **text);
DGM_MUST_CHECK int dgm_synth_readme(char **text, const dgm_synth *s, uint64_t params);

#endif
