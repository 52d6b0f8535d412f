#include "runtime/spm_shim.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <sentencepiece_processor.h>
#include <string>
#include <vector>

struct dgm_spm {
    sentencepiece::SentencePieceProcessor processor;
};

namespace
{

int check_layout(const char *path, const sentencepiece::SentencePieceProcessor &p)
{
    if (p.unk_id() != 0 || p.bos_id() != 1 || p.eos_id() != 2)
        return dgm_fail(DGM_EMODEL, "%s: want <unk> 0, <s> 1, </s> 2, found %d, %d, %d", path,
                        p.unk_id(), p.bos_id(), p.eos_id());
    return DGM_OK;
}

} // namespace

extern "C" int dgm_spm_open(dgm_spm **out, const char *path)
try {
    std::unique_ptr<dgm_spm> s(new dgm_spm);
    /* Asked first, since SentencePiece would log its own line about a missing file. */
    std::FILE *f = std::fopen(path, "rb");
    if (f == nullptr)
        return dgm_fail(DGM_EMODEL, "cannot read %s: %s", path, std::strerror(errno));
    (void)std::fclose(f);
    if (!s->processor.Load(path).ok()) /* its own text names lines of its sources */
        return dgm_fail(DGM_EMODEL, "%s: not a SentencePiece model, or not all of one", path);
    const int rc = check_layout(path, s->processor);
    if (rc == DGM_OK)
        *out = s.release();
    return rc;
} catch (const std::bad_alloc &) {
    return dgm_fail(DGM_ENOMEM, "%s: no memory", path);
} catch (const std::exception &e) {
    return dgm_fail(DGM_EMODEL, "%s: not a SentencePiece model: %s", path, e.what());
}

extern "C" void dgm_spm_close(dgm_spm *s)
{
    delete s;
}

extern "C" int dgm_spm_size(const dgm_spm *s)
{
    return s->processor.GetPieceSize();
}

extern "C" const char *dgm_spm_piece(const dgm_spm *s, int32_t id)
{
    return s->processor.IdToPiece(id).c_str();
}

extern "C" int32_t dgm_spm_find(const dgm_spm *s, const char *piece, size_t len)
{
    return s->processor.PieceToId({piece, len});
}

extern "C" int dgm_spm_encode(const dgm_spm *s, int32_t **ids, int *n, const char *text, size_t len)
try {
    std::vector<int> found;
    const auto status = s->processor.Encode({text, len}, &found);
    if (!status.ok())
        return dgm_fail(DGM_EINTERNAL, "SentencePiece: %s", status.error_message());
    if (found.size() > INT_MAX - 2)
        return dgm_fail(DGM_ETEXT, "a line of %zu bytes gives %zu pieces: too many", len,
                        found.size());
    *ids = static_cast<int32_t *>(std::malloc((found.size() + 2) * sizeof **ids));
    if (*ids == nullptr)
        throw std::bad_alloc();
    std::copy(found.begin(), found.end(), *ids);
    *n = static_cast<int>(found.size());
    return DGM_OK;
} catch (const std::bad_alloc &) {
    return dgm_fail(DGM_ENOMEM, "no memory for the pieces of a line of %zu bytes", len);
} catch (const std::exception &e) {
    return dgm_fail(DGM_EINTERNAL, "SentencePiece: %s", e.what());
}
