#include "runtime/writer_resume.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { STATE_FORMAT = 1 };
static const char state_form[] = "dragoman state %d job %016" PRIx64 " lines %" PRIu64
                                 " input %016" PRIx64 " flagged %" PRIu64 "\n";

/* read_state - false when there is none, or none that we understand. */
static bool read_state(dgm_resume *r, uint64_t *job)
{
    int format = 0;
    FILE *f = fopen(r->path, "re");
    if (f == NULL)
        return false;
    const int n = fscanf(
        f, "dragoman state %d job %" SCNx64 " lines %" SCNu64 " input %" SCNx64 " flagged %" SCNu64,
        &format, job, &r->lines, &r->input_hash, &r->flagged);
    (void)fclose(f);
    return n == 5 && format == STATE_FORMAT;
}

/* whole_lines - how many of the input's lines all outputs hold. */
static int whole_lines(uint64_t *lines, dgm_writer *const *outputs, const int *per_line, int n)
{
    *lines = UINT64_MAX;
    for (int i = 0; i < n; i++) {
        uint64_t found;
        DGM_TRY(dgm_writer_count(&found, outputs[i]));
        if (found / (uint64_t)per_line[i] < *lines)
            *lines = found / (uint64_t)per_line[i];
    }
    return DGM_OK;
}

int dgm_resume_open(dgm_resume *r, uint64_t job, dgm_writer *const *outputs, const int *per_line,
                    int n)
{
    uint64_t found_job = 0, found_lines = 0;
    *r = (dgm_resume){.job = job};
    if (n == 0)
        return DGM_OK;
    /* Only when every output is a file can all of them go on from one place. */
    for (int i = 0; i < n; i++)
        if (!dgm_writer_is_part(outputs[i]))
            return DGM_OK;
    const char *part = dgm_writer_name(outputs[0]);
    const size_t len = strlen(part) + sizeof ".state";
    r->path = malloc(len);
    if (r->path == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the output");
    (void)snprintf(r->path, len, "%s.state", part);
    r->on = true;
    DGM_TRY(whole_lines(&found_lines, outputs, per_line, n));
    if (found_lines == 0)
        return DGM_OK;
    const bool known = read_state(r, &found_job) && found_job == job;
    if (known && found_lines >= r->lines) {
        r->next = found_lines;
        return DGM_OK;
    }
    dgm_log(DGM_LOG_INFO, "output", "%s %s: starting anew", part,
            known ? "lacks lines that were written" : "comes from other options or another model");
    r->lines = r->input_hash = r->flagged = 0;
    return DGM_OK;
}

void dgm_resume_close(dgm_resume *r)
{
    free(r->path);
    *r = (dgm_resume){0};
}

int dgm_resume_keep(const dgm_resume *r, uint64_t lines, dgm_writer *const *outputs,
                    const int *per_line, int n)
{
    for (int i = 0; i < n; i++)
        DGM_TRY(dgm_writer_keep(outputs[i], r->on ? lines * (uint64_t)per_line[i] : 0));
    return DGM_OK;
}

int dgm_resume_save(dgm_resume *r, uint64_t lines, uint64_t input_hash, uint64_t flagged)
{
    if (!r->on)
        return DGM_OK;
    char fresh[4096];
    if (snprintf(fresh, sizeof fresh, "%s.new", r->path) >= (int)sizeof fresh)
        return dgm_fail(DGM_EOUTPUT, "%s: the path is too long", r->path);
    FILE *f = fopen(fresh, "we");
    if (f == NULL)
        return dgm_fail(DGM_EOUTPUT, "%s: cannot be written: %s", fresh, strerror(errno));
    const bool printed =
        fprintf(f, state_form, STATE_FORMAT, r->job, lines, input_hash, flagged) > 0;
    const bool closed = fclose(f) == 0;
    if (!printed || !closed || rename(fresh, r->path) != 0) {
        const int err = errno;
        (void)unlink(fresh);
        return dgm_fail(DGM_EOUTPUT, "%s: cannot be written: %s", r->path, strerror(err));
    }
    r->lines = lines;
    r->input_hash = input_hash;
    r->flagged = flagged;
    r->saved_s = dgm_now_s();
    return DGM_OK;
}

void dgm_resume_forget(const dgm_resume *r)
{
    if (r->on)
        (void)unlink(r->path);
}

uint64_t dgm_resume_hash(uint64_t before, const char *text, size_t len)
{
    return XXH3_64bits_withSeed(text, len, before);
}
