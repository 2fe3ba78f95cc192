# For a CPU, or for NVIDIA GPUs or TPUs, whose libraries come with JAX's packages:
#
#   docker build -t sde_ct .
#   docker build -t sde_ct --build-arg EXTRA=cuda .
#   docker run --gpus=all -v "$PWD:/data" sde_ct python launch/train.py \
#       --config=configs/gold_atlas/ddpm.py --data=/data/prepared --workdir=/data/runs/ddpm
FROM python:3.13-slim
ARG EXTRA=""
ENV PYTHONUNBUFFERED=1
WORKDIR /opt/sde_ct
# On a CPU the convolutions are compiled for the processor they run on.
# hadolint ignore=DL3008
RUN [ -n "$EXTRA" ] || { \
      apt-get update && apt-get install -y --no-install-recommends g++ && \
      rm -rf /var/lib/apt/lists/*; }
COPY pyproject.toml README.md LICENSE ./
COPY sde_ct sde_ct
# The versions are those of pyproject.toml.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".${EXTRA:+[$EXTRA]}"
COPY configs configs
COPY launch launch
CMD ["python", "launch/train.py", "--help"]
