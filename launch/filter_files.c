#include "launch/filter_files.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char lang_mark[] = "{lang}";

/* open_text - "" and "-" are standard input. */
static int open_text(dgm_lines **lines, int *fd, const char **name, const char *path)
{
    const bool standard = path[0] == '\0' || strcmp(path, "-") == 0;
    struct stat st;
    *name = standard ? "standard input" : path;
    *fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return dgm_fail(DGM_EINPUT, "%s: %s", path, strerror(errno));
    if (fstat(*fd, &st) == 0 && S_ISDIR(st.st_mode))
        return dgm_fail(DGM_EINPUT, "%s: want a file, found a directory", path);
    const int flags = fcntl(*fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY)
        return dgm_fail(DGM_EINPUT, "%s: not open for reading", *name);
    return dgm_lines_open(lines, *fd, *name, DGM_STREAM_MAX_LINE_BYTES);
}

static int open_inputs(dgm_filter_files *f, const dgm_options *o)
{
    const bool score = o->command == DGM_COMMAND_SCORE;
    const char *beside = score ? o->reference : o->target_prefix;
    struct stat st;
    DGM_TRY(open_text(&f->input, &f->input_fd, &f->input_name, o->input));
    if (fstat(f->input_fd, &st) == 0 && S_ISREG(st.st_mode)) {
        const off_t at = lseek(f->input_fd, 0, SEEK_CUR);
        f->input_bytes = at >= 0 && at < st.st_size ? (uint64_t)(st.st_size - at) : 0;
    }
    if (beside[0] == '\0')
        return DGM_OK;
    DGM_TRY(open_text(&f->beside, &f->beside_fd, &f->beside_name, beside));
    if (f->beside_fd == STDIN_FILENO && f->input_fd == STDIN_FILENO)
        return dgm_fail(DGM_EUSAGE, "%s: want a file, since the input is standard input already",
                        score ? "--reference" : "--target-prefix");
    return DGM_OK;
}

/* output_path - `pattern` with {lang} replaced. */
static int output_path(char *path, size_t size, const char *pattern, const char *lang)
{
    const char *mark = strstr(pattern, lang_mark);
    const int n = mark == NULL ? snprintf(path, size, "%s", pattern)
                               : snprintf(path, size, "%.*s%s%s", (int)(mark - pattern), pattern,
                                          lang, mark + strlen(lang_mark));
    if (n >= (int)size)
        return dgm_fail(DGM_EUSAGE, "--output: want a path of at most %zu bytes, found %d",
                        size - 1, n);
    return DGM_OK;
}

static int open_outputs(dgm_filter_files *f, const dgm_options *o, const dgm_stream_target *targets,
                        int n_targets)
{
    const char *pattern = strcmp(o->output, "-") == 0 ? "" : o->output;
    const int n = strstr(pattern, lang_mark) != NULL ? n_targets : 1;
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        DGM_TRY(output_path(path, sizeof path, pattern, targets[i].lang));
        DGM_TRY(dgm_writer_open(&f->outputs[i], path));
        f->n_outputs = i + 1;
    }
    if (strcmp(o->report, "-") == 0)
        return dgm_fail(DGM_EUSAGE, "--report: want a file, since standard output is for text");
    return o->report[0] == '\0' ? DGM_OK : dgm_writer_open(&f->report, o->report);
}

int dgm_filter_files_open(dgm_filter_files *f, const dgm_options *o,
                          const dgm_stream_target *targets, int n_targets)
{
    *f = (dgm_filter_files){.input_fd = -1, .beside_fd = -1};
    DGM_TRY(open_inputs(f, o));
    return open_outputs(f, o, targets, n_targets);
}

bool dgm_filter_files_progress(const dgm_filter_files *f, const dgm_options *o)
{
    const bool typed = f->input_fd == STDIN_FILENO && isatty(STDIN_FILENO);
    const bool shown = o->output[0] == '\0' && isatty(STDOUT_FILENO);
    return isatty(STDERR_FILENO) && !typed && !shown && dgm_log_on(DGM_LOG_INFO);
}

static void close_text(dgm_lines *lines, int fd)
{
    dgm_lines_close(lines);
    if (fd > STDERR_FILENO)
        (void)close(fd);
}

void dgm_filter_files_close(dgm_filter_files *f)
{
    if (f->input != NULL)
        close_text(f->input, f->input_fd);
    if (f->beside != NULL)
        close_text(f->beside, f->beside_fd);
    for (int i = 0; i < f->n_outputs; i++)
        dgm_writer_close(f->outputs[i]);
    dgm_writer_close(f->report);
    *f = (dgm_filter_files){0};
}
