# package.cmake: what an installation has besides the library, the headers and the tool: limn.pc, find_package, man
# pages, completion, limn.py, documents; and the Debian package that `cpack` makes of it.
include(CMakePackageConfigHelpers)

# What a program needs beside liblimn.a.
set(static_libraries ${LIMN_OPENBLAS} -llapacke -lsleef -lcjson -lz -lzip)
if(LIMN_XSMM_DIR AND LIMN_XSMM)
    list(PREPEND static_libraries -lxsmm)
endif()
list(APPEND static_libraries -fopenmp -ldl -lm)

set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/limn)
configure_package_config_file(packaging/limnConfig.cmake.in installed/limnConfig.cmake
    INSTALL_DESTINATION ${config_folder}
    PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_BINDIR)
# Until 1.0 every minor version may change the interface.
write_basic_package_version_file(installed/limnConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/installed/limnConfig.cmake ${CMAKE_BINARY_DIR}/installed/limnConfigVersion.cmake
    DESTINATION ${config_folder})
install(EXPORT limnTargets NAMESPACE limn:: DESTINATION ${config_folder})

string(REPLACE ";" " " static_libraries "${static_libraries}")
file(RELATIVE_PATH pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
configure_file(packaging/limn.pc.in installed/limn.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/installed/limn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# ---- pages that the tool makes of its own table ----------------------------------------------------------------------
if(TARGET limn)
    set(pages ${CMAKE_BINARY_DIR}/installed/pages)
    add_custom_command(OUTPUT ${pages}/made COMMAND sh ${PROJECT_SOURCE_DIR}/packaging/pages.sh $<TARGET_FILE:limn>
        ${pages} DEPENDS limn packaging/pages.sh VERBATIM)
    add_custom_target(limn_pages ALL DEPENDS ${pages}/made)
    install(DIRECTORY ${pages}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
    install(DIRECTORY ${pages}/bash-completion ${pages}/zsh DESTINATION ${CMAKE_INSTALL_DATADIR})
endif()

set(LIMN_PYTHON_DIR lib/python3/dist-packages CACHE STRING "where limn.py is installed, under the prefix")
install(FILES examples/python/limn.py DESTINATION ${LIMN_PYTHON_DIR})
install(FILES README.md CHANGES.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES examples/networks/residual.c DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

# ---- the Debian package ----------------------------------------------------------------------------------------------
# In the build folder: cpack. One package has the tool, the library and the headers, as the tool compiles a user's C
# file against them.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME limn)
set(CPACK_PACKAGE_CONTACT "the limn authors <limn@localhost>" CACHE STRING "the package's maintainer")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "infinitely wide neural networks as kernel machines")
set(CPACK_PACKAGE_DESCRIPTION "Library and tool that trace a neural network, written as a C function, with
its widths as symbols, and run that one trace at any width (training, the
empirical tangent kernel) and at n = infinity: the Netsor-T program of its
forward and backward pass, its NNGP kernel and its neural tangent kernel.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_SOURCE_DIR}/packaging/depends.cmake)
set(CPACK_LIMN_BUILD ${CMAKE_BINARY_DIR})
# Of OpenBLAS any flavour will do, and the one with OpenMP's threads is the fastest. A compiler is for networks in C.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "gcc | c-compiler, libc6-dev")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "python3-numpy, pkg-config")
file(WRITE ${CMAKE_BINARY_DIR}/installed/shlibs
    "liblimn ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} limn (>= ${PROJECT_VERSION})\n")
file(WRITE ${CMAKE_BINARY_DIR}/installed/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_BINARY_DIR}/installed/shlibs ${CMAKE_BINARY_DIR}/installed/triggers)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/packaging/debian.cmake)
include(CPack)
