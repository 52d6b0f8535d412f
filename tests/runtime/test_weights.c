/* Every weight lands where the layout says, whatever the file's type, sharding and spelling; what does not fit
 * is refused by name. The expected numbers come from the test model's own formula. */
#include "runtime/weights.h"
#include "tests/runtime/testmodel.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *dir;

static int setup(void **state)
{
    (void)state;
    dir = testmodel_dir();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testmodel_remove(dir);
    return 0;
}

static dgm_model *open_model(const testmodel *spec)
{
    dgm_model *m;
    testmodel_write(dir, spec);
    if (dgm_model_open(&m, dir, NULL) != DGM_OK)
        fail_msg("%s", dgm_error_text());
    return m;
}

/* ---- what is expected ---- */

static void check_value(const testmodel *s, const char *name, size_t i, float found)
{
    const float want = testmodel_value(s, name, i);
    if (memcmp(&want, &found, sizeof want) != 0)
        fail_msg("%s[%zu]: wanted %.9g, found %.9g", name, i, (double)want, (double)found);
}

static void check_matrix(const testmodel *s, const dgm_packed *w, int n, int k, int row0, int rows,
                         const char *name)
{
    assert_int_equal(w->n, n);
    assert_int_equal(w->k, k);
    assert_non_null(w->data);
    assert_int_equal((uintptr_t)w->data % 64, 0);
    assert_int_equal(w->type, s->dtype == DGM_BF16 ? DGM_W_BF16 : DGM_W_F32);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < k; i++)
            check_value(s, name, (size_t)r * (size_t)k + (size_t)i, dgm_packed_at(w, row0 + r, i));
    for (int r = n; r % DGM_PANEL != 0; r++) /* padding */
        for (int i = 0; i < k; i++)
            assert_true(dgm_packed_at(w, r, i) == 0);
}

static void check_vector(const testmodel *s, const float *v, int n, const char *name)
{
    assert_non_null(v);
    for (int i = 0; i < n; i++)
        check_value(s, name, (size_t)i, v[i]);
}

static void check_linear(const testmodel *s, const dgm_linear *l, int n, int k, int row0, int rows,
                         const char *fmt, ...) __attribute__((format(printf, 7, 8)));
static void check_linear(const testmodel *s, const dgm_linear *l, int n, int k, int row0, int rows,
                         const char *fmt, ...)
{
    char stem[128], name[160];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(stem, sizeof stem, fmt, ap);
    va_end(ap);
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    check_matrix(s, &l->w, n, k, row0, rows, name);
    (void)snprintf(name, sizeof name, "%s.bias", stem);
    check_vector(s, l->b + row0, rows, name);
}

static void check_norm(const testmodel *s, const dgm_norm *norm, const char *layer,
                       const char *stem)
{
    char name[160];
    (void)snprintf(name, sizeof name, "%s.%s.weight", layer, stem);
    check_vector(s, norm->w, s->d_model, name);
    (void)snprintf(name, sizeof name, "%s.%s.bias", layer, stem);
    check_vector(s, norm->b, s->d_model, name);
}

static void check_layer(const testmodel *s, const dgm_layer *l, int stack, int i)
{
    const int d = s->d_model, f = s->ffn[stack];
    const bool m2m = strcmp(s->model_type, "m2m_100") == 0;
    const char *cross = m2m ? "encoder_attn" : "cross_attention", *qkv = "qkv";
    char at[64];
    (void)snprintf(at, sizeof at, "%s.layers.%d", stack == 0 ? "encoder" : "decoder", i);
    check_norm(s, &l->self_norm, at, "self_attn_layer_norm");
    check_norm(s, &l->ffn_norm, at, m2m ? "final_layer_norm" : "ff_layer_norm");
    for (int p = 0; p < 3; p++)
        check_linear(s, &l->qkv, 3 * d, d, p * d, d, "%s.self_attn.%c_proj", at, qkv[p]);
    check_linear(s, &l->self_out, d, d, 0, d, "%s.self_attn.out_proj", at);
    if (stack == DGM_DECODER) {
        check_norm(s, &l->cross_norm, at,
                   m2m ? "encoder_attn_layer_norm" : "cross_attention_layer_norm");
        check_linear(s, &l->cross_q, d, d, 0, d, "%s.%s.q_proj", at, cross);
        check_linear(s, &l->cross_kv, 2 * d, d, 0, d, "%s.%s.k_proj", at, cross);
        check_linear(s, &l->cross_kv, 2 * d, d, d, d, "%s.%s.v_proj", at, cross);
        check_linear(s, &l->cross_out, d, d, 0, d, "%s.%s.out_proj", at, cross);
    }
    if (!l->sparse) {
        check_linear(s, &l->ffn.fc1, f, d, 0, f, "%s.%sfc1", at, m2m ? "" : "ffn.");
        check_linear(s, &l->ffn.fc2, d, f, 0, d, "%s.%sfc2", at, m2m ? "" : "ffn.");
        return;
    }
    char name[160];
    (void)snprintf(name, sizeof name, "%s.ffn.router.classifier.weight", at);
    check_matrix(s, &l->router, s->experts, d, 0, s->experts, name);
    for (int e = 0; e < s->experts; e++) {
        check_linear(s, &l->experts[e].fc1, f, d, 0, f, "%s.ffn.experts.expert_%d.fc1", at, e);
        check_linear(s, &l->experts[e].fc2, d, f, 0, d, "%s.ffn.experts.expert_%d.fc2", at, e);
    }
}

static void check_all(const testmodel *s)
{
    dgm_model *m = open_model(s);
    const char *embed = s->embed_name == NULL ? "shared.weight" : s->embed_name;
    assert_int_equal(dgm_model_load(m, 0, 1, true, NULL), DGM_OK);
    check_matrix(s, &m->embed, s->vocab, s->d_model, 0, s->vocab, embed);
    int n_moe = 0;
    for (int stack = 0; stack < DGM_STACKS; stack++) {
        assert_int_equal(m->stack[stack].n_layers, s->layers[stack]);
        for (int i = 0; i < s->layers[stack]; i++) {
            const dgm_layer *l = &m->stack[stack].layers[i];
            const bool sparse =
                s->model_type[0] == 'n' && s->step[stack] > 0 && (i + 1) % s->step[stack] == 0;
            assert_int_equal(l->sparse, sparse);
            assert_int_equal(l->moe_index, sparse ? n_moe++ : -1);
            check_layer(s, l, stack, i);
        }
        check_norm(s, &m->stack[stack].norm, stack == 0 ? "encoder" : "decoder", "layer_norm");
    }
    dgm_model_close(m);
}

/* ---- layouts ---- */

static void every_type_and_spelling(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    check_all(&s);
    s.prefix = false;
    s.dtype = DGM_F16;
    check_all(&s);
    s.dtype = DGM_BF16;
    s.model_type = "nllb_moe";
    check_all(&s);
    s.model_type = "m2m_100";
    s.prefix = true;
    check_all(&s);
}

static void shards(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    s.shards = 3;
    check_all(&s);
}

/* Panels are 16 wide: q, k, v of 20 rows begin in the middle of one. And step 1, 3 layers, unequal heads. */
static void odd_shapes(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    s.d_model = 20;
    s.heads[0] = 5;
    s.heads[1] = 4;
    s.layers[0] = 3;
    s.step[0] = 1;
    s.step[1] = 0;
    s.experts = 3;
    s.ffn[0] = 7;
    s.ffn[1] = 33;
    check_all(&s);
}

static void each_alias_of_the_embedding(void **state)
{
    (void)state;
    static const char *const names[] = {"encoder.embed_tokens.weight",
                                        "decoder.embed_tokens.weight", "lm_head.weight"};
    for (int i = 0; i < 6; i++) {
        testmodel s = testmodel_small();
        s.embed_name = names[i % 3];
        s.prefix = i < 3;
        check_all(&s);
    }
}

/* Larger than one piece of reading (4 MiB). */
static void a_large_tensor(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    s.layers[0] = s.layers[1] = 1;
    s.vocab = 140001;
    s.dtype = DGM_BF16;
    check_all(&s);
}

/* ---- positions ---- */

static void positions_are_sinusoids(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    s.positions = 1024;
    dgm_model *m = open_model(&s);
    assert_int_equal(dgm_model_load(m, 0, 1, true, NULL), DGM_OK);
    for (int p = 0; p < s.positions + 2; p++) {
        for (int i = 0; i < 8; i++) {
            /* Exponents, frequencies and angles are f32 there, and an exponent is up to 9.2: 1e-6 of the angle. */
            const double angle = p * exp(-i * log(10000) / 7), tol = 1e-7 + 1e-6 * angle;
            const float *row = m->positions + (size_t)p * 16;
            if (fabs(row[i] - (p == 1 ? 0 : sin(angle))) > tol ||
                fabs(row[8 + i] - (p == 1 ? 0 : cos(angle))) > tol)
                fail_msg("position %d, frequency %d: wanted %g %g, found %g %g", p, i, sin(angle),
                         cos(angle), (double)row[i], (double)row[8 + i]);
        }
    }
    dgm_model_close(m);
}

/* Entries of Hugging Face's table for d_model 1024, and the last column of an odd d. */
static void positions_as_hugging_face(void **state)
{
    (void)state;
    static const struct entry {
        int row, col;
        float value;
    } want[] = {{0, 0, 0.0f},
                {0, 512, 1.0f},
                {1, 600, 0.0f},
                {2, 0, 0.909297407f},
                {2, 1, 0.923581064f},
                {2, 511, 0.00019999998f},
                {2, 513, -0.383403242f},
                {3, 1023, 0.99999994f},
                {500, 7, 0.789466083f},
                {777, 520, 0.934491992f},
                {1025, 300, -0.993243217f},
                {1025, 1000, 0.987987757f}};
    float *table = malloc(sizeof *table * 1026 * 1024);
    assert_non_null(table);
    dgm_positions_fill(table, 1026, 1024);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        if (fabsf(table[want[i].row * 1024 + want[i].col] - want[i].value) > 6e-8f)
            fail_msg("row %d, column %d: wanted %.9g, found %.9g", want[i].row, want[i].col,
                     (double)want[i].value, (double)table[want[i].row * 1024 + want[i].col]);
    dgm_positions_fill(table, 9, 5);
    for (int p = 0; p < 9; p++)
        assert_true(table[p * 5 + 4] == 0);
    free(table);
}

/* ---- parts of a rank ---- */

/* 4 experts, 3 ranks: rank 0 holds 0 and 3, rank 1 holds 1, rank 2 holds 2. */
static void a_rank_holds_its_own(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    for (int rank = 0; rank < 3; rank++) {
        dgm_model *m = open_model(&s);
        assert_int_equal(dgm_model_load(m, rank, 3, rank == 0, NULL), DGM_OK);
        const dgm_layer *l = &m->stack[DGM_DECODER].layers[1];
        for (int e = 0; e < 4; e++) {
            const dgm_ffn *x = &l->experts[e];
            assert_int_equal(x->fc1.w.data != NULL, e % 3 == rank);
            assert_int_equal(x->fc1.w.n, 40); /* shapes are known everywhere */
            assert_int_equal(x->fc2.b != NULL, e % 3 == rank);
            if (e % 3 == rank)
                check_linear(&s, &x->fc2, 16, 40, 0, 16,
                             "decoder.layers.1.ffn.experts.expert_%d.fc2", e);
        }
        assert_int_equal(m->embed.data != NULL, rank == 0);
        assert_int_equal(l->router.data != NULL, rank == 0);
        assert_int_equal(l->qkv.w.data != NULL, rank == 0);
        assert_int_equal(m->positions != NULL, rank == 0);
        assert_int_equal(m->placement.n_layers, 2);
        dgm_model_close(m);
    }
}

/* What inspect says that a rank will hold is what it holds. */
static void bytes_are_as_announced(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    for (int rank = 0; rank < 3; rank++) {
        dgm_model *m = open_model(&s);
        uint64_t dense, experts, found = 0;
        dgm_model_rank_bytes(&dense, &experts, m, rank, 3, rank != 1);
        assert_int_equal(dgm_model_load(m, rank, 3, rank != 1, NULL), DGM_OK);
        assert_int_equal(m->files->dense.used, dense);
        assert_int_equal(m->files->dense.cap, dense);
        /* reserved to the byte, but for a page to begin each expert: pushes would assert past it */
        const uint64_t pages = (uint64_t)(m->files->n_moe * s.experts) * 4096;
        found = m->files->experts.cap;
        assert_true(found >= experts && found <= experts + pages);
        assert_true(experts > 0);
        assert_int_equal(dense > 0, rank != 1);
        dgm_model_close(m);
    }
}

/* An expert's weights lie together, so that it can move as one piece. */
static void an_expert_lies_together(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    dgm_model *m = open_model(&s);
    assert_int_equal(dgm_model_load(m, 0, 1, true, NULL), DGM_OK);
    const dgm_ffn *x = &m->stack[DGM_ENCODER].layers[1].experts[2];
    const char *at = (const char *)x->fc1.w.data;
    assert_int_equal((uintptr_t)at % 4096, 0);
    assert_ptr_equal(x->fc1.b, at + dgm_packed_bytes(DGM_W_F32, 24, 16));
    assert_ptr_equal(x->fc2.w.data, (const char *)x->fc1.b + 128);
    assert_ptr_equal(x->fc2.b, (const char *)x->fc2.w.data + dgm_packed_bytes(DGM_W_F32, 16, 24));
    dgm_model_close(m);
}

/* ---- what does not fit ---- */

static void expect_refusal(const testmodel *s, const char *want)
{
    dgm_model *m;
    testmodel_write(dir, s);
    const int rc = dgm_model_open(&m, dir, NULL);
    if (rc != DGM_EMODEL || strstr(dgm_error_text(), want) == NULL)
        fail_msg("wanted EMODEL with '%s', found %s '%s'", want, dgm_status_name(rc),
                 dgm_error_text());
}

static void refuses_missing_tensors(void **state)
{
    (void)state;
    static const char *const names[] = {
        "shared.weight",
        "encoder.layers.0.self_attn.k_proj.bias",
        "encoder.layers.1.ffn.router.classifier.weight",
        "encoder.layers.1.ffn.experts.expert_3.fc2.weight",
        "decoder.layers.0.ffn.fc1.weight",
        "decoder.layers.1.cross_attention.v_proj.weight",
        "decoder.layer_norm.bias",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char want[160];
        testmodel s = testmodel_small();
        s.broken = names[i];
        (void)snprintf(want, sizeof want, "wanted a tensor model.%s, found none", names[i]);
        expect_refusal(&s, want);
    }
}

static void refuses_wrong_shapes(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    s.wrong = 1;
    s.broken = "decoder.layers.1.ffn.experts.expert_0.fc1.weight";
    expect_refusal(&s, "tensor model.decoder.layers.1.ffn.experts.expert_0.fc1.weight: wanted "
                       "shape [40, 16], found [41, 16]");
    s.broken = "encoder.layer_norm.weight";
    expect_refusal(&s, "tensor model.encoder.layer_norm.weight: wanted shape [16], found [17]");
    s.broken = "shared.weight";
    expect_refusal(&s, "tensor model.shared.weight: wanted shape [37, 16], found [38, 16]");
    s = testmodel_small();
    s.extra = "lm_head.weight"; /* an alias that cannot be tied to the rest */
    expect_refusal(&s, "tensor lm_head.weight: wanted shape [37, 16], found [3]");
}

static void refuses_leftovers(void **state)
{
    (void)state;
    testmodel s = testmodel_small();
    s.extra = "encoder.layers.1.ffn.experts.expert_4.fc1.bias";
    expect_refusal(&s, "wanted only tensors that config.json describes, found "
                       "model.encoder.layers.1.ffn.experts.expert_4");
    s.config = "{\"encoder_layers\":1}";
    expect_refusal(&s,
                   "wanted only tensors that config.json describes, found model.encoder.layers.1.");
    s = testmodel_small();
    s.extra =
        "encoder.embed_positions.weights"; /* old checkpoints carry the table that we compute */
    check_all(&s);
}

/* Half a file: the header promises more than there is. */
static void refuses_a_truncated_file(void **state)
{
    (void)state;
    char path[256];
    testmodel s = testmodel_small();
    testmodel_write(dir, &s);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    static char buf[40000];
    assert_int_equal(fread(buf, 1, sizeof buf, f), sizeof buf);
    (void)fclose(f);
    testmodel_file(dir, "model.safetensors", buf, sizeof buf);
    dgm_model *m;
    assert_int_equal(dgm_model_open(&m, dir, NULL), DGM_EMODEL);
    assert_non_null(strstr(dgm_error_text(), "(is the file truncated?)"));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(every_type_and_spelling),
        CASE(shards),
        CASE(odd_shapes),
        CASE(each_alias_of_the_embedding),
        CASE(a_large_tensor),
        CASE(positions_are_sinusoids),
        CASE(positions_as_hugging_face),
        CASE(a_rank_holds_its_own),
        CASE(bytes_are_as_announced),
        CASE(an_expert_lies_together),
        CASE(refuses_missing_tensors),
        CASE(refuses_wrong_shapes),
        CASE(refuses_leftovers),
        CASE(refuses_a_truncated_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
