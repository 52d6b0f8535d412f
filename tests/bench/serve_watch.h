/* serve_watch.h - a server seen from outside: what it holds. A server that holds too much is the end of the program. */
#ifndef DGM_TESTS_SERVE_WATCH_H
#define DGM_TESTS_SERVE_WATCH_H

/* serve_descriptors, serve_resident_kib - of a process, as /proc says. */
int serve_descriptors(int pid);
int serve_resident_kib(int pid);

/* serve_check_rest - nobody else is connected: within a minute the server must have no client, no lines, and so many descriptors. */
void serve_check_rest(const char *address, int pid, int descriptors);

#endif
