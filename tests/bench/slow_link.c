/*
 * slow_link - a network cable of a given speed and length between two network namespaces.
 *
 *   slow_link NAMESPACE NAMESPACE MBIT_PER_S DELAY_US
 *
 * Makes a device `link0` in each and carries packets between them, each direction by itself: a packet leaves when those before
 * it have left, takes its bits' time, and arrives DELAY_US later. Nothing is lost or reordered. For kernels without netem;
 * wants root. Runs above all other work of the machine, as a network card would, and costs some microseconds of CPU a packet.
 * Prints "up" when the devices are there; ends with its input.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 16, MOST_PACKETS = 1 << 13 };

typedef struct packet {
    int64_t due;
    size_t bytes;
    char *data;
} packet;

typedef struct direction {
    int from, to;
    int64_t free_at; /* when the cable has taken all that came so far */
    packet *ring;    /* [MOST_PACKETS] */
    unsigned head, tail;
} direction;

static double ns_per_byte;
static int64_t delay_ns;

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "slow_link: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int open_end(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "/run/netns/%s", name);
    const int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) != 0)
        die(path);
    (void)close(ns);
    const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq r = {.ifr_name = "link0", .ifr_flags = IFF_TUN | IFF_NO_PI};
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r) != 0)
        die("/dev/net/tun");
    return fd;
}

static void make_ring(direction *d)
{
    d->ring = calloc(MOST_PACKETS, sizeof *d->ring);
    for (int i = 0; d->ring != NULL && i < MOST_PACKETS; i++)
        if ((d->ring[i].data = malloc(MOST_BYTES)) == NULL)
            die("memory");
    if (d->ring == NULL)
        die("memory");
}

static void take_in(direction *d)
{
    while (d->head - d->tail < MOST_PACKETS) {
        packet *p = &d->ring[d->head % MOST_PACKETS];
        const ssize_t n = read(d->from, p->data, MOST_BYTES);
        if (n <= 0)
            return;
        const int64_t now = now_ns();
        if (d->free_at < now)
            d->free_at = now;
        d->free_at += (int64_t)(ns_per_byte * (double)n);
        p->bytes = (size_t)n;
        p->due = d->free_at + delay_ns;
        d->head++;
    }
}

/* When the next packet is due; INT64_MAX: there is none. */
static int64_t put_out(direction *d)
{
    for (; d->tail != d->head; d->tail++) {
        const packet *p = &d->ring[d->tail % MOST_PACKETS];
        if (p->due > now_ns())
            return p->due;
        if (write(d->to, p->data, p->bytes) < 0 && errno != EIO) /* EIO: that end is down */
            die("write");
    }
    return INT64_MAX;
}

int main(int argc, char **argv)
{
    direction d[2] = {0};
    if (argc != 5 || atof(argv[3]) <= 0) {
        (void)fprintf(stderr, "usage: slow_link NAMESPACE NAMESPACE MBIT_PER_S DELAY_US\n");
        return 2;
    }
    ns_per_byte = 8e3 / atof(argv[3]);
    delay_ns = (int64_t)(atof(argv[4]) * 1e3);
    d[0].from = d[1].to = open_end(argv[1]);
    d[1].from = d[0].to = open_end(argv[2]);
    make_ring(&d[0]);
    make_ring(&d[1]);
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 10}) != 0)
        (void)fprintf(stderr, "slow_link: shares the CPUs like everybody: %s\n", strerror(errno));
    (void)printf("up\n");
    (void)fflush(stdout);
    struct pollfd fds[3] = {{.fd = d[0].from, .events = POLLIN},
                            {.fd = d[1].from, .events = POLLIN},
                            {.fd = STDIN_FILENO}};
    while (fds[2].revents == 0) {
        take_in(&d[0]);
        take_in(&d[1]);
        const int64_t a = put_out(&d[0]), b = put_out(&d[1]), next = a < b ? a : b,
                      left = next == INT64_MAX ? 1000000000 : next - now_ns();
        if (left > 0)
            (void)ppoll(fds, 3, &(struct timespec){left / 1000000000, left % 1000000000}, NULL);
    }
    return 0;
}
