/* config.json, generation_config.json and tokenizer_config.json, with NUL bytes between them: refused in one
 * sentence, or a configuration that the rest of the program can live with. */
#include "base/log.h"
#include "runtime/config_json.h"
#include "runtime/cut.h"
#include "runtime/history.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check(const dgm_model_config *c)
{
    DGM_ASSERT(c->d_model >= 4 && c->vocab_size >= 5 && c->max_positions >= 4);
    for (int s = 0; s < DGM_STACKS; s++) {
        DGM_ASSERT(c->n_layers[s] >= 1 && c->n_heads[s] >= 1 && c->ffn_dim[s] >= 1 &&
                   c->sparse_step[s] >= 0);
        DGM_ASSERT(c->d_model % c->n_heads[s] == 0);
    }
    DGM_ASSERT(dgm_config_most_experts(c) <= 4096 &&
               (c->top_k == 1 || (c->top_k == 2 && dgm_config_most_experts(c) >= 2)));
    DGM_ASSERT(c->expert_scale > 0 && c->expert_scale <= 1 && c->embed_scale >= 1);
    DGM_ASSERT(c->max_length >= 1 && c->max_length <= c->max_positions);
    DGM_ASSERT(c->max_source >= 3 && c->max_source <= c->max_positions);
    const int ids[] = {c->pad_id, c->bos_id, c->eos_id, c->decoder_start_id};
    for (int i = 0; i < 4; i++)
        DGM_ASSERT(ids[i] >= 0 && ids[i] < c->vocab_size);
}

static void check_refused(void)
{
    DGM_ASSERT(dgm_error_text()[0] != '\0' && strchr(dgm_error_text(), '\n') == NULL);
}

/* What is said of experts that are there: in each layer as many as a token needs. */
static void check_cut(const dgm_config_file *f, const dgm_model_config *c)
{
    dgm_cut *cut;
    if (dgm_cut_read(&cut, f, c) != DGM_OK)
        check_refused();
    for (int l = 0; cut != NULL && l < cut->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &cut->shape.layers[l];
        DGM_ASSERT(dgm_cut_count(cut, layer) >=
                   (c->top_k < layer->n_experts ? c->top_k : layer->n_experts));
    }
    dgm_cut_free(cut);
}

/* The tasks that rows are routed by: refused in one sentence, or each is found under its own name. */
static void check_tasks(const dgm_model_config *c, const dgm_config_files *f)
{
    static const int layers[DGM_STACKS] = {2, 2};
    dgm_json j;
    dgm_tasks t;
    if (c->n_tasks == 0 || c->routing_pairs ||
        dgm_json_open(&j, "f", f->model.text, f->model.len, true) != DGM_OK)
        return;
    if (dgm_tasks_read(&t, c, layers, &j) == DGM_OK) {
        for (int i = 0, found; i < t.n; i++)
            DGM_ASSERT(dgm_tasks_find(&found, &t, "", t.name[i]) == DGM_OK && found == i);
        dgm_tasks_fini(&t);
    }
    dgm_json_close(&j);
}

/* What was done to the model: refused in one sentence, or a list of steps. */
static void check_history(const dgm_config_file *f)
{
    json_t *steps;
    if (dgm_history_parse(&steps, f) != DGM_OK) {
        check_refused();
        return;
    }
    DGM_ASSERT(json_is_array(steps));
    json_decref(steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[] = "f", text[3][8192];
    dgm_config_files f = {0};
    dgm_config_file *const files[] = {&f.model, &f.generation, &f.tokenizer};
    dgm_log_init(DGM_LOG_ERROR, 0, 1);
    for (int i = 0; i < 3; i++) {
        const uint8_t *nul = size == 0 ? NULL : memchr(data, '\0', size);
        const size_t len = nul == NULL ? size : (size_t)(nul - data);
        if (i > 0 && size == 0)
            break;
        if (len >= sizeof text[i])
            return 0;
        memcpy(text[i], data, len);
        text[i][len] = '\0';
        *files[i] = (dgm_config_file){.path = path, .text = text[i], .len = len};
        data += nul == NULL ? len : len + 1;
        size -= nul == NULL ? len : len + 1;
    }
    dgm_model_config c;
    if (dgm_config_parse(&c, &f, NULL) != DGM_OK) {
        check_refused();
        return 0;
    }
    check(&c);
    check_cut(&f.model, &c);
    check_tasks(&c, &f);
    check_history(&f.model);
    return 0;
}
