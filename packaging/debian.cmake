# debian.cmake: what Debian's policy asks of a package's files, done to the tree that cpack has installed.
set(root ${CPACK_TEMPORARY_DIRECTORY}${CPACK_PACKAGING_INSTALL_PREFIX})
set(doc ${root}/share/doc/limn)

file(READ ${doc}/LICENSE license)
string(REGEX REPLACE "^.*authors\n\n" "" license "${license}")
string(REGEX REPLACE "\n\n" "\n.\n" license "${license}")
string(REGEX REPLACE "\n([^\n])" "\n \\1" license "${license}")
string(TIMESTAMP year "%Y")
file(WRITE ${doc}/copyright "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: limn

Files: *
Copyright: ${year} the limn authors
License: Expat
 ${license}")
file(REMOVE ${doc}/LICENSE)
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${doc}/changelog "limn (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * See CHANGES.md.gz beside this file.

 -- ${CPACK_PACKAGE_CONTACT}  ${now}
")
file(GLOB manuals ${root}/share/man/man1/*.1)
foreach(file IN LISTS manuals ITEMS ${doc}/changelog ${doc}/CHANGES.md)
    execute_process(COMMAND gzip -9 -n -f ${file})
endforeach()
file(MAKE_DIRECTORY ${root}/share/lintian/overrides)
configure_file(${CMAKE_CURRENT_LIST_DIR}/lintian-overrides ${root}/share/lintian/overrides/limn COPYONLY)
