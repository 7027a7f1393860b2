# Orthanc with DICOMweb from Debian, the version that the tests of lfmri-node run against.
FROM debian:12.12-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends orthanc orthanc-dicomweb \
    && rm -rf /var/lib/apt/lists/* \
    && usermod --uid 10002 orthanc \
    && install -d -o orthanc -m 0700 /var/lib/orthanc/db-v6
VOLUME ["/var/lib/orthanc/db-v6"]
USER 10002
EXPOSE 4242 8042
CMD ["Orthanc", "/etc/orthanc-lfmri"]
