#include "base/log.h"

#include "base/utf8.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    WORDS = 2048,
    ESCAPED = 6, /* bytes that one of the words becomes at most: \u001f */
    LINE = 512 + ESCAPED * WORDS,
};

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};
static struct {
    enum dgm_log_level level;
    int rank, ranks;
    bool json;
    bool hurried;    /* nothing waits for whoever reads */
    uint64_t untold; /* lines lost that nobody was told of; under `lock` */
    atomic_uint_least64_t lost;
} state = {.level = DGM_LOG_INFO, .ranks = 1};
static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER; /* of those in a hurry: from poll to write */

void dgm_log_init(enum dgm_log_level level, int rank, int ranks)
{
    state.level = level;
    state.rank = rank;
    state.ranks = ranks;
}

void dgm_log_as_json(bool json)
{
    state.json = json;
}

void dgm_log_never_wait(void)
{
    state.hurried = true;
}

uint64_t dgm_log_lost(void)
{
    return atomic_load(&state.lost);
}

int dgm_log_parse(enum dgm_log_level *out, const char *name)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum dgm_log_level)i;
            return DGM_OK;
        }
    }
    return dgm_fail(DGM_EUSAGE, "log level: want error, warn, info, debug or trace, found '%s'",
                    name);
}

bool dgm_log_on(enum dgm_log_level level)
{
    if (level > state.level)
        return false;
    return state.rank == 0 || level < DGM_LOG_INFO || state.level >= DGM_LOG_DEBUG;
}

/* character_bytes - of the character that text begins with; 0 when it is none. */
static size_t character_bytes(const char *text)
{
    const unsigned char c = (unsigned char)*text;
    const size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    size_t bad;
    return memchr(text, '\0', n) == NULL && dgm_utf8_check(text, n, &bad) ? n : 0;
}

/* escape_one - the character at text into out, as JSON has it; *taken bytes of text. */
static int escape_one(char out[ESCAPED + 1], size_t *taken, const char *text)
{
    const unsigned char c = (unsigned char)*text;
    const size_t n = character_bytes(text);
    *taken = n > 0 ? n : 1;
    if (n == 0)
        return snprintf(out, ESCAPED + 1, "\\ufffd");
    if (c < 0x20 || c == 0x7f)
        return snprintf(out, ESCAPED + 1, "\\u%04x", c);
    if (c == '"' || c == '\\')
        return snprintf(out, ESCAPED + 1, "\\%c", c);
    return snprintf(out, ESCAPED + 1, "%.*s", (int)n, text);
}

size_t dgm_log_escape(char *out, size_t size, const char *text)
{
    size_t len = 0;
    out[0] = '\0';
    while (*text != '\0') {
        char one[ESCAPED + 1];
        size_t taken;
        const int n = escape_one(one, &taken, text);
        if (len + (size_t)n + 1 > size)
            break;
        memcpy(out + len, one, (size_t)n + 1);
        len += (size_t)n;
        text += taken;
    }
    return len;
}

/* format_json - words are escaped; the rest is ours and needs none. */
static int format_json(char *line, size_t size, const struct timespec *ts, const char *level,
                       const char *module, const dgm_log_id *id, const char *words)
{
    struct tm tm;
    char when[32];
    (void)gmtime_r(&ts->tv_sec, &tm);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    int n = snprintf(line, size,
                     "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"rank\":%d,\"ranks\":%d,"
                     "\"module\":\"%s\"",
                     when, ts->tv_nsec / 1000000, level, state.rank, state.ranks, module);
    if (id->connection != 0)
        n += snprintf(line + n, size - (size_t)n, ",\"connection\":%llu",
                      (unsigned long long)id->connection);
    if (id->request != 0)
        n += snprintf(line + n, size - (size_t)n, ",\"request\":%llu",
                      (unsigned long long)id->request);
    n += snprintf(line + n, size - (size_t)n, ",\"words\":\"");
    n += (int)dgm_log_escape(line + n, size - (size_t)n - 3, words);
    return n + snprintf(line + n, size - (size_t)n, "\"}\n");
}

static int format_text(char *line, size_t size, const struct timespec *ts, const char *level,
                       const char *module, const dgm_log_id *id, const char *words)
{
    struct tm tm;
    (void)localtime_r(&ts->tv_sec, &tm);
    int n = snprintf(line, size, "%02d:%02d:%02d.%03ld %s %d/%d %s ", tm.tm_hour, tm.tm_min,
                     tm.tm_sec, ts->tv_nsec / 1000000, level, state.rank, state.ranks, module);
    if (id->connection != 0)
        n += snprintf(line + n, size - (size_t)n, "connection %llu%s",
                      (unsigned long long)id->connection, id->request != 0 ? " " : ": ");
    if (id->request != 0)
        n +=
            snprintf(line + n, size - (size_t)n, "request %llu: ", (unsigned long long)id->request);
    const int begin = n;
    n += snprintf(line + n, size - (size_t)n, "%s", words);
    for (int i = begin; i < n; i++) /* who is quoted in a line cannot begin another */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    line[n] = '\n';
    return n + 1;
}

static void put(const char *line, int n)
{
    if (write(STDERR_FILENO, line, (size_t)n) < 0) {
        /* stderr is gone: there is nowhere left to say so */
    }
}

static int format(char *line, size_t size, enum dgm_log_level level, const char *module,
                  const dgm_log_id *id, const char *words)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (state.json ? format_json : format_text)(line, size, &ts, level_names[level], module, id,
                                                    words);
}

/* room - for PIPE_BUF bytes, at once; also where an error would be told. */
static bool room(void)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) > 0;
}

/* tell_lost - of lines before this one; false: not even that can be written. */
static bool tell_lost(void)
{
    char line[PIPE_BUF], words[96];
    if (!room())
        return false;
    if (state.untold == 0)
        return true;
    (void)snprintf(words, sizeof words, "%llu messages were not written: nobody reads the log",
                   (unsigned long long)state.untold);
    put(line, format(line, sizeof line, DGM_LOG_WARN, "log", &(dgm_log_id){0}, words));
    state.untold = 0;
    return room();
}

/* put_or_lose - of PIPE_BUF bytes at most. */
static void put_or_lose(const char *line, int n)
{
    (void)pthread_mutex_lock(&lock);
    if (tell_lost()) {
        put(line, n);
    } else {
        state.untold++;
        atomic_fetch_add(&state.lost, 1);
    }
    (void)pthread_mutex_unlock(&lock);
}

static void say(enum dgm_log_level level, const char *module, const dgm_log_id *id,
                const char *words)
{
    char line[LINE];
    const int n = format(line, state.hurried ? PIPE_BUF : sizeof line, level, module, id, words);
    (state.hurried ? put_or_lose : put)(line, n);
}

static void say_formatted(enum dgm_log_level level, const char *module, dgm_log_id id,
                          const char *fmt, va_list ap)
{
    char words[WORDS];
    (void)vsnprintf(words, sizeof words, fmt, ap);
    say(level, module, &id, words);
}

void dgm_log(enum dgm_log_level level, const char *module, const char *fmt, ...)
{
    if (!dgm_log_on(level))
        return;
    va_list ap;
    va_start(ap, fmt);
    say_formatted(level, module, (dgm_log_id){0}, fmt, ap);
    va_end(ap);
}

void dgm_log_of(enum dgm_log_level level, const char *module, dgm_log_id id, const char *fmt, ...)
{
    if (!dgm_log_on(level))
        return;
    va_list ap;
    va_start(ap, fmt);
    say_formatted(level, module, id, fmt, ap);
    va_end(ap);
}

/* say_plainly - what is quoted, a server's word or a file's, moves no terminal's cursor. */
static void say_plainly(const char *sentence)
{
    char line[WORDS];
    int n = snprintf(line, sizeof line - 1, "dragoman: %s", sentence);
    n = n < (int)sizeof line - 2 ? n : (int)sizeof line - 2;
    for (int i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    line[n] = '\n';
    (state.hurried ? put_or_lose : put)(line, n + 1);
}

void dgm_log_failure(const char *sentence)
{
    if (state.json)
        say(DGM_LOG_ERROR, "end", &(dgm_log_id){0}, sentence);
    else
        say_plainly(sentence);
}
