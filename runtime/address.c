#include "runtime/address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_BYTES = 256, PORT_BYTES = 8 };

bool dgm_address_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24) == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static int split(char host[HOST_BYTES], char port[PORT_BYTES], const char *option,
                 const char *shown, const char *text)
{
    const char *colon = strrchr(text, ':');
    const size_t n = colon == NULL ? 0 : (size_t)(colon - text);
    const bool brackets = n > 1 && text[0] == '[' && text[n - 1] == ']';
    char *end = NULL;
    const bool digits = colon != NULL && colon[1] >= '0' && colon[1] <= '9';
    const long number = digits ? strtol(colon + 1, &end, 10) : 0;
    if (n == 0 || n >= HOST_BYTES || !digits || *end != '\0' || number > 65535)
        return dgm_fail(DGM_EUSAGE, "%s %s: want HOST:PORT, the port 0 to 65535", option, shown);
    (void)snprintf(host, HOST_BYTES, "%.*s", (int)(brackets ? n - 2 : n), text + brackets);
    (void)snprintf(port, PORT_BYTES, "%d", (int)number);
    return DGM_OK;
}

int dgm_address_resolve(struct sockaddr_storage *out, const char *option, const char *shown,
                        const char *text, const char *lacking)
{
    char host[HOST_BYTES], port[PORT_BYTES];
    DGM_TRY(split(host, port, option, shown, text));
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        return dgm_fail(DGM_EUSAGE, "%s %s: %s", option, shown, gai_strerror(rc));
    const bool near = dgm_address_loopback(found->ai_addr);
    memset(out, 0, sizeof *out);
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (near || lacking == NULL)
        return DGM_OK;
    return dgm_fail(
        DGM_EUSAGE,
        "%s %s: is not on loopback, and lacks %s: anybody on the network could read or ask "
        "(--insecure says that this is meant)",
        option, shown, lacking);
}
