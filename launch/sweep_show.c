#include "launch/sweep_show.h"

#include "runtime/writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 64, HEIGHT = 14 };

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

void dgm_sweep_show_head(void)
{
    (void)printf("%8s %6s %7s %7s %9s %9s %7s %6s %15s %6s %6s %6s %6s %5s %5s %5s  %s\n",
                 "fraction", "ratio", "encoder", "decoder", "MiB", "MiB, all", "chrF++", "lost",
                 "95 %", "worst", "BLEU", "spBLEU", "length", "empty", "loop", "cut",
                 "worst direction");
}

void dgm_sweep_show_point(const dgm_point *p, const dgm_evaluation *e)
{
    char ratio[16] = "-", interval[32];
    if (p->ratio > 0)
        (void)snprintf(ratio, sizeof ratio, "%g", p->ratio);
    (void)snprintf(interval, sizeof interval, "[%.2f, %.2f]", p->interval.low, p->interval.high);
    (void)printf("%8.4f %6s %7.1f %7.1f %9.2f %9.2f %7.2f %6.2f %15s %6.2f %6.2f %6.2f %6.3f "
                 "%5" PRId64 " %5" PRId64 " %5" PRId64 "  %s\n",
                 p->fraction, ratio, p->kept[DGM_ENCODER], p->kept[DGM_DECODER], mib(p->bytes),
                 mib(p->bytes_all), p->score[DGM_SCORE_CHRF], p->lost, interval, p->worst_lost,
                 p->score[DGM_SCORE_BLEU], p->score[DGM_SCORE_SPBLEU], p->length_ratio, p->empty,
                 p->looping, p->unfinished, p->worst < 0 ? "-" : e->directions[p->worst].name);
    (void)fflush(stdout);
}

/* ---- plot ---- */

/* place - of v between low and high, as one of n cells. */
static int place(double v, double low, double high, int n)
{
    return high > low ? (int)((v - low) / (high - low) * (n - 1) + 0.5) : n - 1;
}

void dgm_sweep_plot(const dgm_sweep *s, int knee)
{
    char cells[HEIGHT][WIDTH + 1];
    double low = s->points[0].score[DGM_SCORE_CHRF], high = low, most = mib(s->points[0].bytes),
           least = most;
    for (int i = 1; i < s->n; i++) {
        const double q = s->points[i].score[DGM_SCORE_CHRF], x = mib(s->points[i].bytes);
        low = q < low ? q : low;
        high = q > high ? q : high;
        least = x < least ? x : least;
    }
    for (int y = 0; y < HEIGHT; y++) {
        memset(cells[y], ' ', WIDTH);
        cells[y][WIDTH] = '\0';
    }
    for (int k = 0; k <= s->n; k++) { /* all experts and the knee last: on top */
        const int i = k < s->n - 1 ? k + 1 : k == s->n - 1 ? 0 : knee;
        if (i < 0)
            continue;
        const dgm_point *p = &s->points[i];
        const int y = place(p->score[DGM_SCORE_CHRF], low, high, HEIGHT);
        cells[HEIGHT - 1 - y][place(mib(p->bytes), least, most, WIDTH)] = i == 0      ? 'A'
                                                                          : k == s->n ? 'K'
                                                                                      : 'o';
    }
    (void)printf("\nchrF++ against MiB of weights for one direction (A all experts, K the knee)\n");
    for (int y = 0; y < HEIGHT; y++)
        (void)printf("%7.2f |%s\n", high - (high - low) * y / (HEIGHT - 1), cells[y]);
    (void)printf("%7s +", "");
    for (int x = 0; x < WIDTH; x++)
        (void)putchar('-');
    (void)printf("\n%9s%-*.2f%.2f\n", "", WIDTH - 6, least, most);
}

/* ---- file ---- */

static void put_scores(FILE *f, const double *score, double length_ratio, int64_t empty,
                       int64_t looping, int64_t unfinished)
{
    (void)fprintf(f,
                  "\"bleu\":%.9f,\"spbleu\":%.9f,\"chrf++\":%.9f,\"length_ratio\":%.9f,\"empty\":"
                  "%" PRId64 ",\"looping\":%" PRId64 ",\"unfinished\":%" PRId64,
                  score[DGM_SCORE_BLEU], score[DGM_SCORE_SPBLEU], score[DGM_SCORE_CHRF],
                  length_ratio, empty, looping, unfinished);
}

static void put_direction(FILE *f, const dgm_quality *q)
{
    double score[DGM_SCORES];
    for (int k = 0; k < DGM_SCORES; k++)
        score[k] = dgm_quality_score(q, (enum dgm_score)k);
    (void)fputc('{', f);
    put_scores(f, score, dgm_quality_length_ratio(q), q->empty, q->looping, q->unfinished);
    (void)fputc('}', f);
}

static void put_point(FILE *f, const dgm_point *p, const dgm_evaluation *e)
{
    (void)fprintf(f, "{\"fraction\":%.9g,\"ratio\":", p->fraction);
    if (p->ratio > 0)
        (void)fprintf(f, "%.9g", p->ratio);
    else
        (void)fputs("null", f);
    (void)fprintf(
        f, ",\"encoder\":%.9g,\"decoder\":%.9g,\"bytes\":%" PRIu64 ",\"bytes_all\":%" PRIu64 ",",
        p->kept[DGM_ENCODER], p->kept[DGM_DECODER], p->bytes, p->bytes_all);
    put_scores(f, p->score, p->length_ratio, p->empty, p->looping, p->unfinished);
    (void)fprintf(f, ",\"lost\":{\"chrf++\":%.9f,\"low\":%.9f,\"high\":%.9f},\"worst\":", p->lost,
                  p->interval.low, p->interval.high);
    if (p->worst < 0)
        (void)fputs("null", f);
    else
        (void)fprintf(f, "{\"direction\":\"%s\",\"chrf++\":%.9f}", e->directions[p->worst].name,
                      p->worst_lost);
    (void)fputs(",\"by_direction\":[", f);
    for (int i = 0; i < e->n; i++) {
        (void)fputs(i > 0 ? "," : "", f);
        put_direction(f, &p->sums[i]);
    }
    (void)fputs("]}", f);
}

static void put_all(FILE *f, const dgm_sweep *s, const dgm_evaluation *e, int knee)
{
    const dgm_options *o = s->o;
    (void)fprintf(f,
                  "{\"format\":1,\"kind\":\"sweep\",\"model\":\"%016" PRIx64
                  "\",\"metric\":\"%s\",\"algorithm\":\"%s\",\"granularity\":\"%s\",\"seed\":"
                  "%" PRIu64 ",\"resamples\":%d,\"directions\":[",
                  e->session.model->hash, o->metric, o->algorithm, o->granularity, o->seed,
                  DGM_RESAMPLES);
    for (int i = 0; i < e->n; i++)
        (void)fprintf(f, "%s\"%s\"", i > 0 ? "," : "", e->directions[i].name);
    (void)fputs("],\"unpruned\":", f);
    put_point(f, &s->points[0], e);
    (void)fputs(",\"points\":[", f);
    for (int i = 1; i < s->n; i++) {
        (void)fputs(i > 1 ? ",\n" : "\n", f);
        put_point(f, &s->points[i], e);
    }
    if (knee > 0)
        (void)fprintf(f, "],\"knee\":%d}", knee - 1);
    else
        (void)fputs("],\"knee\":null}", f);
}

int dgm_sweep_write(const dgm_sweep *s, const dgm_evaluation *e, int knee, const char *path)
{
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    if (f == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %s", path);
    put_all(f, s, e, knee);
    const int rc = fclose(f) != 0 ? dgm_fail(DGM_ENOMEM, "out of memory for %s", path)
                                  : dgm_writer_file(path, text);
    free(text);
    return rc;
}
