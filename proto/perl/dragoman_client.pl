#!/usr/bin/env perl
# A worked example: a client of `dragoman serve` in Perl, on what comes with it alone. docs/protocol.md tells what is spoken.
#   perl dragoman_client.pl unix:PATH|tcp:HOST:PORT SRC TGT < in > out
# One line in, one line out, in order. $DRAGOMAN_TOKEN: what the server asks for; $DRAGOMAN_TLS_CA: TLS (which wants IO::Socket::SSL), with a server whose
# certificate is by one of those in this file (PEM); $DRAGOMAN_DEADLINE_MS: a line that takes longer is given up. Exit codes as of `dragoman`: 1 some lines
# have no translation, 2 refused, 6 the connection is lost and does not come again. A connection that was there and is lost is made again, with growing
# pauses, and what was not answered is sent again.
use strict;
use warnings;
use IO::Socket::IP;
use IO::Socket::UNIX;
use IO::Select;
use Time::HiRes qw(time sleep);
use constant { SEGMENTS => 64, BYTES => 1 << 18, TRIES => 5, ATTEMPTS => 8, WELCOME => 16, ANSWER => 17, CREDIT => 18, ERROR => 22 };

my @status  = qw(unknown ok empty split too_long truncated copied looped wrong_script timed_out cancelled failed bad_input);
my %is_good = map { $_ => 1 } qw(ok empty split copied looped wrong_script);
my %waits   = map { $_ => 1 } 7, 11, 12, 13;    # CREDIT, BUSY, DRAINING, NOT_READY: not the line's fault, however often
my ($address, $src, $tgt) = @ARGV;
my ($socket, $in, $out, $typed, %done, %asked, @todo);    # %asked: by id of a request, its lines that are not answered, by place
my ($id, $credits, $window, $hashes, $answered, $attempts, $pause, $not_before, $parting) = (0, 0, 0, '', 0, 0, 0, 0);
my ($more, $read, $written, $flagged) = (1, 0, 0, 0);

sub stop { my ($code, $why) = @_; print STDERR "dragoman_client.pl: $why\n"; exit $code }

# ---- protobuf, as much as is needed: a message that was read is a hash, by number of the field what it held ----
sub varint { my ($v) = @_; my $s = ''; while ($v > 127) { $s .= chr($v & 127 | 128); $v >>= 7 } return $s . chr $v }
sub number { my ($field, $v) = @_; return varint($field << 3) . varint($v) }
sub bytes  { my ($field, $s) = @_; return varint($field << 3 | 2) . varint(length $s) . $s }
sub get    { my ($message, $field) = @_; return $message->{$field} ? $message->{$field}[-1] : 0 }
sub message {
    my ($bytes, %fields) = @_;
    my $number = sub {
        my ($v, $shift) = (0, 0);
        $bytes =~ s/^([\x80-\xff]{0,9}[\x00-\x7f])// or stop(6, 'the server sent what is no message');
        for (split //, $1) { $v |= (ord($_) & 127) << $shift; $shift += 7 }
        return $v;
    };
    while (length $bytes) {
        my $key  = $number->();
        my $kind = $key & 7;
        my $v    = $kind == 0 || $kind == 2 ? $number->() : $kind == 1 ? 8 : 4;    # the value, or its length
        push @{ $fields{ $key >> 3 } }, $kind ? substr $bytes, 0, $v, '' : $v;
    }
    return \%fields;
}

# ---- lines ----
sub take_lines {
    $more = 0 if !sysread STDIN, $typed, 65536, length $typed;
    $typed .= "\n" if !$more && length $typed;
    while ($typed =~ s/^([^\n]*)\n//) { push @todo, { text => $1, number => ++$read, tries => 0 } }
}
sub finish {
    my ($line, $text, $trouble) = @_;
    $done{ $line->{number} } = $text;
    if ($trouble) { print STDERR "line $line->{number}: $trouble\n"; $flagged = 1 }
    while (defined $done{ $written + 1 }) { print delete $done{ ++$written }, "\n" }
}
sub again {
    my ($line, $waits, $why) = @_;
    if ($waits || ++$line->{tries} < TRIES) { push @todo, $line } else { finish($line, '', "failed $why") }
}
# Longer each time, until an answer comes, and with some chance, so that many clients do not come back at once.
sub hold {
    my ($least_ms) = @_;
    return if time < $not_before;
    $pause      = $pause == 0 ? 0.1 : $pause < 5 ? 2 * $pause : 10;
    $not_before = time + $least_ms / 1000 + $pause * (0.5 + rand);
}

# ---- frames that come; what is none of these is news, which does no harm ----
sub take_answer {
    my ($request, $answer) = @_;
    my $line = delete $asked{$request}{ get($answer, 1) } or return;
    delete $asked{$request} if get($answer, 20);
    $credits += get($answer, 21);
    my ($status, $why) = ($status[ get($answer, 2) ] // 'unknown', get($answer, 22) || '');
    if (get($answer, 24)) { hold(get($answer, 25)); return again($line, $waits{ get($answer, 23) }, $why) }
    ($answered, $pause) = (1, 0);
    finish($line, $answer->{3} ? get(message($answer->{3}[0]), 1) || '' : '', $is_good{$status} ? '' : "$status $why");
}
sub take_error {
    my ($request, $error) = @_;
    my $why = 'the server says: ' . get($error, 2);
    if ($request == 0 && get($error, 5)) { $parting = $error }    # it reads nothing more here, and still answers what it was asked
    elsif (!get($error, 3)) { stop(2, $why) }
    $credits += get($error, 6);
    hold(get($error, 4));
    again($_, $waits{ get($error, 1) }, $why) for values %{ delete $asked{$request} || {} };
}
sub take {
    my ($frame) = @_;
    my ($request, $welcome, $answer, $credit, $error) = (get($frame, 1), map { $frame->{$_} && message($frame->{$_}[0]) } WELCOME, ANSWER, CREDIT, ERROR);
    if ($welcome) {
        my $both = get($welcome, 4) . get($welcome, 5);
        stop(2, 'the server came back with another model or other options: its answers would not go with those before') if ($hashes ||= $both) ne $both;
        ($attempts, $credits, $window) = (0, get($welcome, 9), 2 * get($welcome, 9));
    }
    take_answer($request, $answer) if $answer;
    take_error($request, $error)   if $error;
    $credits += get($credit, 1)    if $credit;
}

# ---- a connection: some lines in each request, and as many requests as there are credits ----
sub ask {
    my $options = $ENV{DRAGOMAN_DEADLINE_MS} ? bytes(3, number(19, $ENV{DRAGOMAN_DEADLINE_MS})) : '';
    while ($credits > 0 && @todo && time >= $not_before && !$parting) {
        my ($body, @some) = (bytes(1, $src) . bytes(2, $tgt) . $options);
        for (; @todo && $credits > 0 && @some < SEGMENTS && length $body < BYTES; $credits--) {
            push @some, shift @todo;
            $body .= bytes(4, bytes(1, $some[-1]{text}) . number(6, $some[-1]{number}));
        }
        sends(number(1, ++$id) . bytes(3, $body));
        $asked{$id} = { map { $_ => $some[$_] } 0 .. $#some };
    }
}
sub sends { my ($body) = @_; $out .= pack('N', length $body) . $body }
# Writes and reads what there is, here and on standard input, or waits for it; false at the connection's end.
sub pump {
    my $wrote = length $out ? syswrite $socket, $out : 0;
    return 0 if !defined $wrote && !$!{EAGAIN};
    substr $out, 0, $wrote || 0, '';
    my $from = IO::Select->new($socket, $more && $read - $written < $window ? \*STDIN : ());
    my $wait = @todo && $credits > 0 && $not_before > time ? $not_before - time : 60;
    my ($can) = IO::Select->select($from, length $out ? IO::Select->new($socket) : undef, undef, $wait);
    take_lines() if grep { $_ == \*STDIN } @{ $can || [] };
    my $got;
    1 while $got = sysread $socket, $in, 65536, length $in;    # until it would wait: select does not see what TLS holds
    my $open = !defined $got && $!{EAGAIN};
    while (length $in >= 4 && length $in >= 4 + unpack 'N', $in) {
        take(message(substr $in, 0, unpack('N', substr $in, 0, 4, ''), ''));
    }
    return $open;
}
sub reach {
    my ($path, $host, $port) = $address =~ /^(?:unix:(.+)|tcp:\[?(.+?)\]?:(\d+))$/ or stop(2, "want unix:PATH or tcp:HOST:PORT, found '$address'");
    return IO::Socket::UNIX->new(Peer => $path) if $path;
    my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Timeout => 10);
    return $s if !$s || !$ENV{DRAGOMAN_TLS_CA};
    require IO::Socket::SSL;
    my @with = (SSL_ca_file => $ENV{DRAGOMAN_TLS_CA}, SSL_verifycn_scheme => 'http', SSL_verifycn_name => $host, SSL_hostname => $host);
    return IO::Socket::SSL->start_SSL($s, @with) || ($hashes ? undef : stop(2, "$address: " . IO::Socket::SSL::errstr()));
}
# From Hello to the last answer, or to the connection's end: then what was not answered is to be sent again.
sub talk {
    ($in, $out, $credits, $answered, $parting) = ('', '', 0, 0, undef);
    $socket = reach() or return;
    $socket->blocking(0);
    sends(bytes(2, number(1, 1) . bytes(2, $ENV{DRAGOMAN_TOKEN} // '') . bytes(3, 'dragoman_client.pl')));
    do { ask() } while ($more || $written < $read) && pump();
    stop(2, 'the server says: ' . get($parting, 2)) if $parting && !get($parting, 3) && ($more || $written < $read);
    again($_, $answered, 'the connection was lost') for map { values %$_ } values %asked;
    %asked = ();
    @todo  = sort { $a->{number} <=> $b->{number} } @todo;
}

stop(2, 'usage: dragoman_client.pl unix:PATH|tcp:HOST:PORT SRC TGT < in > out') if @ARGV != 3;
($SIG{PIPE}, $|, $typed) = ('IGNORE', 1, '');
while (1) {
    talk();
    exit $flagged if !$more && $written == $read;
    stop(6, "$address: " . ($socket ? 'the server closed the connection' : $!)) if !$hashes || $attempts++ >= ATTEMPTS;
    IO::Select->new(\*STDIN)->can_read if $more && !@todo;    # until somebody waits
    hold(0);
    sleep $not_before - time if $not_before > time;
}
