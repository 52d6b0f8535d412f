#include "launch/atlas_page.h"

#include "launch/page_parts.h"
#include "runtime/writer.h"

#include <stdlib.h>

int dgm_atlas_page(const char *path, const char *data)
{
    char *text = NULL;
    DGM_TRY(dgm_page_parts(&text, "atlas (--csv DIR writes tables without a page)", "launch/atlas",
                           "atlas", data));
    const int rc = dgm_writer_file(path, text);
    free(text);
    return rc;
}
