# OHIF, and Orthanc's DICOMweb at the same address: the browser needs no password of Orthanc.
FROM ohif/app:v3.13.8 AS ohif

FROM nginxinc/nginx-unprivileged:1.29.4-alpine
COPY --from=ohif /usr/share/nginx/html /usr/share/nginx/html
COPY viewer.conf /etc/nginx/conf.d/default.conf
COPY app-config.js /usr/share/nginx/html/app-config.js
USER 101
EXPOSE 8080
