# The image with a project's files, to deploy both together; in the root folder of the clone:
#   docker build -f deploy/image/project.Dockerfile --build-arg SHROFF=shroff:0.1.0 -t mybank:1 FOLDER
# A container brings them into the project's folder: cd /data/project && /opt/project.sh /project ''
ARG SHROFF
FROM ${SHROFF}
COPY --chown=10001:10001 . /project
