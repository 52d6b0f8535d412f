/* systemd.h - what systemd hears of a service of Type=notify (sd_notify(3)'s datagrams, without its library). */
#ifndef DGM_RUNTIME_SYSTEMD_H
#define DGM_RUNTIME_SYSTEMD_H

/* dgm_systemd_tell - "READY=1", "WATCHDOG=1", ...; nothing without $NOTIFY_SOCKET, or where nobody listens there. Never waits. Any thread. */
void dgm_systemd_tell(const char *words);

#endif
