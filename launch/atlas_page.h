/* atlas_page.h - one HTML file of its own from the parts in launch/atlas and the data that they draw. */
#ifndef DGM_LAUNCH_ATLAS_PAGE_H
#define DGM_LAUNCH_ATLAS_PAGE_H

#include "base/status.h"

/*
 * dgm_atlas_page - writes `path`, atomically: page.html with each {{part}} replaced by the file of that name, and {{data}} by
 * `data`. DGM_EUNSUPPORTED when the parts are not where the program was built or installed, DGM_ENOMEM, DGM_EOUTPUT.
 */
DGM_MUST_CHECK int dgm_atlas_page(const char *path, const char *data);

#endif
