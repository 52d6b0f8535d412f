#include "runtime/sweep_table.h"

#include "runtime/csv.h"
#include "runtime/input_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT = 1, MAX_FILE = 1 << 28, MAX_POINTS = 4096 };

const char *const dgm_sweep_names[DGM_SWEEP_NUMBERS] = {
    "fraction",    "ratio",    "encoder",   "decoder",          "bytes",
    "bytes_all",   "bleu",     "spbleu",    "chrf++",           "length_ratio",
    "lost_chrf++", "lost_low", "lost_high", "worst_lost_chrf++"};

static int bad(const char *path, const char *key, const char *want)
{
    return dgm_fail(DGM_EINPUT, "%s: %s: want %s, as dragoman prune --sweep writes it", path, key,
                    want);
}

/* number - NaN where null stands and may. */
static int number(double *out, const char *path, const json_t *value, const char *key, bool null)
{
    if (null && (value == NULL || json_is_null(value))) {
        *out = NAN;
        return DGM_OK;
    }
    if (!json_is_number(value))
        return bad(path, key, "a number");
    *out = json_number_value(value);
    return DGM_OK;
}

static int get_point(dgm_sweep_point *p, const char *path, const json_t *one)
{
    const json_t *lost = json_object_get(one, "lost"), *worst = json_object_get(one, "worst");
    for (int k = 0; k <= DGM_SWEEP_LENGTH; k++)
        DGM_TRY(number(&p->x[k], path, json_object_get(one, dgm_sweep_names[k]), dgm_sweep_names[k],
                       k == DGM_SWEEP_RATIO));
    DGM_TRY(number(&p->x[DGM_SWEEP_LOST], path, json_object_get(lost, "chrf++"), "lost", false));
    DGM_TRY(number(&p->x[DGM_SWEEP_LOW], path, json_object_get(lost, "low"), "lost: low", false));
    DGM_TRY(
        number(&p->x[DGM_SWEEP_HIGH], path, json_object_get(lost, "high"), "lost: high", false));
    return number(&p->x[DGM_SWEEP_WORST], path, json_object_get(worst, "chrf++"), "worst", true);
}

static int check_head(const char *path, const json_t *root, uint64_t model)
{
    const json_t *format = json_object_get(root, "format");
    const char *kind = json_string_value(json_object_get(root, "kind"));
    uint64_t hash;
    if (!json_is_integer(format) || json_integer_value(format) != FORMAT)
        return bad(path, "format", "1");
    if (kind == NULL || strcmp(kind, "sweep") != 0)
        return bad(path, "kind", "sweep");
    if (!dgm_hash_of(&hash, json_object_get(root, "model")))
        return bad(path, "model", "a hash of 16 hexadecimal digits");
    if (hash != model)
        return dgm_fail(DGM_EINPUT,
                        "%s is of another model: want %016" PRIx64 ", found %016" PRIx64, path,
                        model, hash);
    return DGM_OK;
}

static int get_all(dgm_sweep_table *t, const char *path, const json_t *root, uint64_t model)
{
    const json_t *points = json_object_get(root, "points"), *knee = json_object_get(root, "knee");
    const size_t n = json_array_size(points);
    DGM_TRY(check_head(path, root, model));
    if (n < 1 || n > MAX_POINTS)
        return bad(path, "points", "a list of points");
    t->points = calloc(n + 1, sizeof *t->points);
    if (t->points == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < n; i++)
        DGM_TRY(get_point(&t->points[i], path, json_array_get(points, i)));
    DGM_TRY(get_point(&t->points[n], path, json_object_get(root, "unpruned")));
    t->n = (int)n;
    if (json_is_integer(knee) && json_integer_value(knee) >= 0 && json_integer_value(knee) < t->n)
        t->knee = (int)json_integer_value(knee);
    else if (knee != NULL && !json_is_null(knee))
        return bad(path, "knee", "null or the number of a point");
    return DGM_OK;
}

int dgm_sweep_read(dgm_sweep_table *t, const char *path, uint64_t model)
{
    dgm_json j = {0};
    *t = (dgm_sweep_table){.knee = -1};
    int rc = dgm_input_json(&j, path, MAX_FILE);
    if (rc == DGM_OK)
        rc = get_all(t, path, j.root, model);
    dgm_json_close(&j);
    if (rc != DGM_OK)
        dgm_sweep_fini(t);
    return rc;
}

void dgm_sweep_fini(dgm_sweep_table *t)
{
    free(t->points);
    *t = (dgm_sweep_table){.knee = -1};
}

int dgm_sweep_csv(const dgm_sweep_table *t, const char *dir)
{
    dgm_csv c;
    DGM_TRY(dgm_csv_begin(&c, dir, "quality"));
    (void)fputs("point", c.f);
    for (int k = 0; k < DGM_SWEEP_NUMBERS; k++)
        (void)fprintf(c.f, ",%s", dgm_sweep_names[k]);
    (void)fputc('\n', c.f);
    for (int i = 0; i <= t->n; i++) {
        (void)fputs(i == t->n ? "unpruned" : i == t->knee ? "knee" : "", c.f);
        for (int k = 0; k < DGM_SWEEP_NUMBERS; k++) {
            if (isnan(t->points[i].x[k]))
                (void)fputc(',', c.f);
            else
                (void)fprintf(c.f, ",%.12g", t->points[i].x[k]);
        }
        (void)fputc('\n', c.f);
    }
    return dgm_csv_end(&c);
}
