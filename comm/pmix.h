/*
 * pmix.h - what Slurm's PMIx server hears of the end of a rank.
 *
 * Its plug-in kills the whole step, some 5 to 300 ms later, when a process that has called PMIx_Init goes without
 * PMIx_Finalize, whatever srun was told: ranks that are about to say who was lost, and to leave with exit code 6, would
 * be killed as well (137). So the connection of a rank that dies stays open as long as its guard is there, and a
 * rank that leaves in mid-job takes its leave of PMIx. Elsewhere than in a step of srun --mpi=pmix both do nothing.
 */
#ifndef DGM_COMM_PMIX_H
#define DGM_COMM_PMIX_H

/* dgm_pmix_hold - after MPI_Init: gives the guard a copy of the connection to the PMIx server. */
void dgm_pmix_hold(void);

/* dgm_pmix_farewell - before an _exit(code) that nobody is to take for a death, and after dgm_guard_leave. MPI is of no
 * use any more. Returns within seconds, or ends the process with `code`. */
void dgm_pmix_farewell(int code);

#endif
