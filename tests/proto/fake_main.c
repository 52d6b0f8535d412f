/* The fake server for shell tests: fake_main PATH [KEY=N | gate=FIFO]...; ends with SIGTERM and prints what it counted. */
#include "tests/proto/fake_server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    fake_script s = {0};
    const struct {
        const char *key;
        int *value;
    } numbers[] = {{"drop_after", &s.drop_after}, {"drops", &s.drops},       {"busy", &s.busy},
                   {"lost_ranks", &s.lost_ranks}, {"pause_us", &s.pause_us}, {"state", &s.state},
                   {"closes", &s.closes}};
    sigset_t set;
    int number;
    if (argc < 2)
        return 2;
    for (int i = 2; i < argc; i++) {
        const char *is = strchr(argv[i], '=');
        if (is == NULL)
            return 2;
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
            if (strncmp(argv[i], numbers[k].key, (size_t)(is - argv[i])) == 0)
                *numbers[k].value = atoi(is + 1);
        if (strncmp(argv[i], "gate=", 5) == 0)
            s.gate = open(is + 1, O_RDONLY);
        if (strncmp(argv[i], "token=", 6) == 0)
            s.token = is + 1;
        if (strncmp(argv[i], "refused=", 8) == 0)
            s.refused = is + 1;
        if (strncmp(argv[i], "slow=", 5) == 0)
            s.slow = is + 1;
        if (strncmp(argv[i], "credits=", 8) == 0)
            s.credits = (unsigned)atoi(is + 1);
    }
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    fake_server *f = fake_start(argv[1], &s);
    (void)sigwait(&set, &number);
    const fake_counts n = fake_stop(f);
    (void)printf("connections %d segments %d answers %d overdrawn %d bad_ids %d cancels %d\n",
                 n.connections, n.segments, n.answers, n.overdrawn, n.bad_ids, n.cancels);
    return 0;
}
