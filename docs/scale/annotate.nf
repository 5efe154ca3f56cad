// Annotates one large matrix with Nextflow (DSL 2): one process a part of the cells, one that joins them.
//
//     nextflow run annotate.nf --matrix atlas.h5ad --out atlas.parquet --shards 400 -profile slurm -resume

params.matrix = null
params.out = 'cell_types.parquet'
params.shards = 16
// What `scdiva annotate` and `scdiva merge` are told besides: `--model DIR` belongs to both, `--vote` to the latter.
params.options = ''
params.merge_options = ''

process annotate {
    tag "${shard}/${params.shards}"
    // A node that is lost, or a GPU that is taken away, is tried again elsewhere.
    errorStrategy 'retry'
    maxRetries 3

    input:
    tuple path(matrix), val(shard)

    output:
    path "part-${shard}.scdiva"

    script:
    """
    scdiva annotate ${matrix} -o part-${shard}.scdiva --shard ${shard}/${params.shards} --resume ${params.options}
    """
}

process merge {
    publishDir '.', mode: 'move'

    input:
    path matrix
    path parts

    output:
    path params.out

    script:
    """
    scdiva merge ${parts} -o ${params.out} --input ${matrix} ${params.merge_options}
    """
}

workflow {
    matrix = file(params.matrix, checkIfExists: true)
    parts = annotate(Channel.of(1..params.shards).map { shard -> tuple(matrix, shard) })
    merge(matrix, parts.collect())
}
