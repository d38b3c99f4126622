#!/usr/bin/env perl
# Reads a form, as programs of the nineties do.
use strict;
use warnings;

read(STDIN, my $content, $ENV{CONTENT_LENGTH} // 0);
my %form = map { /^([^=]*)=(.*)$/ ? (decode($1), decode($2)) : () }
    split /&/, $content;

sub decode {
    my ($text) = @_;
    $text =~ tr/+/ /;
    $text =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
    return $text;
}

print "Status: 201 Created\n";
print "Set-Cookie: a=1\n";
print "Set-Cookie: b=2\n";
print "Content-Type: text/plain\n\n";
print map { "$_: $form{$_}\n" } sort keys %form;
