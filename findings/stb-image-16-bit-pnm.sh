#!/bin/sh
# stb_image 2.27 (Debian 12: libstb-dev 0.0~git20220908.8b5f1f3+ds-1) and binary PNM.
#
# Expected: a PGM of 65535 greys has two bytes a sample, the larger first (Netpbm, pgm(5)); stbi_load_16 gives 0x40ff as
# 0x40ff, stbi_load its upper byte 0x40. A PGM of 15 greys has its white, 15, as 255.
# What happens: the two bytes are taken as they lie, so that on a little-endian machine 0x40ff becomes 0xff40, and the
# upper byte of that is 0xff: a smooth picture becomes noise, without an error. White of 15 greys stays 15 of 255.
set -eu
version='0.0~git20220908.8b5f1f3+ds-1'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download "libstb-dev=$version" >/dev/null 2>&1 || { echo "libstb-dev $version cannot be had here"; exit 2; }
dpkg -x libstb-dev_*.deb .
cat >show.c <<'C'
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    static const unsigned char deep[] = "P5\n4 1\n65535\n\x01\x00\x40\xff\x80\x00\xff\x01";
    static const unsigned char few[] = "P5\n2 1\n15\n\x00\x0f";
    int width, height, channels;
    stbi_us *samples = stbi_load_16_from_memory(deep, sizeof deep - 1, &width, &height, &channels, 0);
    stbi_uc *bytes = stbi_load_from_memory(deep, sizeof deep - 1, &width, &height, &channels, 0);
    stbi_uc *grey = stbi_load_from_memory(few, sizeof few - 1, &width, &height, &channels, 0);
    if (!samples || !bytes || !grey)
        return 1;
    printf("0100 40ff 8000 ff01, by stbi_load_16: %04x %04x %04x %04x, by stbi_load: %02x %02x %02x %02x\n", samples[0],
           samples[1], samples[2], samples[3], bytes[0], bytes[1], bytes[2], bytes[3]);
    printf("0 and 15 of 15, by stbi_load: %d %d\n", grey[0], grey[1]);
    return !(samples[1] == 0xff40 && bytes[1] == 0xff && grey[1] == 15);
}
C
cc -w -I usr/include show.c -lm -o show
./show
