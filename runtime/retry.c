#include "runtime/retry.h"

int32_t dgm_retry_beam(int32_t beam)
{
    const int32_t twice = 2 * beam > DGM_RETRY_BEAM ? 2 * beam : DGM_RETRY_BEAM;
    return twice < DGM_MAX_BEAM ? twice : DGM_MAX_BEAM;
}

dgm_decode_options dgm_retry_options(const dgm_decode_options *first)
{
    dgm_decode_options o = *first;
    o.beam = dgm_retry_beam(first->beam);
    if (o.no_repeat_ngram == 0 || o.no_repeat_ngram > DGM_RETRY_NGRAM)
        o.no_repeat_ngram = DGM_RETRY_NGRAM;
    o.sampling = 0;
    o.sampling_topk = 0;
    o.sampling_topp = o.temperature = 1;
    o.seed = 0;
    return o;
}
