/* local.c - the backend of one rank: what a laptop runs, and the smallest complete example of a
 * backend. */
#include "comm/backend.h"

static dgm_link the_link = {.rank = 0, .size = 1};

static bool local_launched(void)
{
    return true; /* last in the list: whoever is not launched otherwise is alone */
}

static int local_open(dgm_link **out)
{
    *out = &the_link;
    return DGM_OK;
}

static void local_close(dgm_link *l)
{
    (void)l;
}

static int local_begin(dgm_link *l, const dgm_round *r)
{
    (void)l;
    DGM_ASSERT(r->n_sends == 0 && r->n_recvs == 0); /* there is nobody to talk to */
    return DGM_OK;
}

static int local_test(dgm_link *l, int lane, int *peer)
{
    (void)l, (void)lane;
    *peer = DGM_ROUND_DONE;
    return DGM_OK;
}

static bool local_probe(dgm_link *l, enum dgm_channel ch, int peer, int *from, size_t *bytes)
{
    (void)l, (void)ch, (void)peer, (void)from, (void)bytes;
    return false;
}

static int local_take(dgm_link *l, enum dgm_channel ch, int from, void *buf, size_t bytes)
{
    (void)l, (void)ch, (void)buf, (void)bytes;
    return dgm_fail(DGM_EINTERNAL, "local: rank %d does not exist", from);
}

static int local_post(dgm_link *l, int slot, enum dgm_channel ch, int peer, const void *buf,
                      size_t bytes)
{
    (void)l, (void)slot, (void)ch, (void)buf, (void)bytes;
    return dgm_fail(DGM_EINTERNAL, "local: rank %d does not exist", peer);
}

static bool local_posted(dgm_link *l, int slot)
{
    (void)l, (void)slot;
    return true;
}

const struct dgm_comm_ops dgm_comm_local = {
    .name = "local",
    .launched = local_launched,
    .open = local_open,
    .close = local_close,
    .begin = local_begin,
    .test = local_test,
    .probe = local_probe,
    .take = local_take,
    .post = local_post,
    .posted = local_posted,
};
