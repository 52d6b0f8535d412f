/* address.h - HOST:PORT, and whether it is on this machine alone. */
#ifndef DGM_RUNTIME_ADDRESS_H
#define DGM_RUNTIME_ADDRESS_H

#include "base/status.h"

#include <stdbool.h>
#include <sys/socket.h>

/*
 * dgm_address_resolve - text: "HOST:PORT" or "[::1]:PORT"; option and shown are for messages ("--listen", "tcp:HOST:PORT").
 * `lacking` is what must be there
 * before anybody in the network may connect, NULL: nothing. DGM_EUSAGE: no such host, no port, or beyond loopback with something
 * lacking.
 */
DGM_MUST_CHECK int dgm_address_resolve(struct sockaddr_storage *out, const char *option,
                                       const char *shown, const char *text, const char *lacking);

/* dgm_address_loopback - only this machine reaches it. False for what is no internet address. */
bool dgm_address_loopback(const struct sockaddr *a);

#endif
