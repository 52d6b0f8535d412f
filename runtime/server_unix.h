/* server_unix.h - Unix sockets in the file system: bound where nobody listens, and removed by who bound them. */
#ifndef DGM_RUNTIME_SERVER_UNIX_H
#define DGM_RUNTIME_SERVER_UNIX_H

#include "base/status.h"

/* One that this process bound. */
typedef struct dgm_server_unix dgm_server_unix;

/*
 * dgm_server_unix_listen - a new socket *fd, mode 0600, that listens at path; a socket there that a dead server left is replaced, anything
 * else stays. Of several that try at once one gets the path, and the others find it: from the first look until it listens it holds
 * the lock of the folder (flock), for which it waits 10 s; where a folder cannot be locked it does without. `shown` is the address, for
 * messages. Opening thread. DGM_EUSAGE.
 */
DGM_MUST_CHECK int dgm_server_unix_listen(int *fd, dgm_server_unix **out, const char *shown,
                                          const char *path, int backlog);

/* dgm_server_unix_remove - its name, if that still leads to it: before the socket is closed, or what another server binds meanwhile may
 * have its number. NULL is fine. */
void dgm_server_unix_remove(dgm_server_unix *u);

/* dgm_server_unix_remove_all - of this process, which ends at once. Async-signal-safe. */
void dgm_server_unix_remove_all(void);

#endif
