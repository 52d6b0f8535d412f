/* page_parts.h - pages of one file, put together from the parts that come with the program. */
#ifndef DGM_LAUNCH_PAGE_PARTS_H
#define DGM_LAUNCH_PAGE_PARTS_H

#include "base/status.h"

/*
 * dgm_page_parts - *text, malloc'ed: page.html of a folder (in_tree, in_share: launch/data_file.h) with each {{name}} replaced by the
 * file of that name beside it, and {{data}} by data. `what` begins the sentences. DGM_EUNSUPPORTED: a part is missing; DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_page_parts(char **text, const char *what, const char *in_tree,
                                  const char *in_share, const char *data);

#endif
