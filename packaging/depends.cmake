# depends.cmake: the packages that the tool and the library of the build need, by dpkg-shlibdeps. It knows of OpenBLAS only
# the package of all flavours; one of them is enough, and the one with OpenMP's threads is asked for first.
set(folder ${CPACK_LIMN_BUILD}/installed/depends)
file(WRITE ${folder}/debian/control "Source: limn\n\nPackage: limn\nArchitecture: any\n")
execute_process(COMMAND dpkg-shlibdeps --ignore-missing-info -O ${CPACK_LIMN_BUILD}/limn ${CPACK_LIMN_BUILD}/liblimn.so
    WORKING_DIRECTORY ${folder} OUTPUT_VARIABLE depends ERROR_VARIABLE said RESULT_VARIABLE status)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "dpkg-shlibdeps (of Debian's dpkg-dev) failed: ${said}")
endif()
string(STRIP "${depends}" depends)
string(REPLACE "shlibs:Depends=" "" depends "${depends}")
string(REPLACE "libopenblas0," "libopenblas0-openmp | libopenblas0," CPACK_DEBIAN_PACKAGE_DEPENDS "${depends}")
