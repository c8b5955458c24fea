// kafkajs against a broker: see ../README.md for what this is told and what it prints.
//
// What is produced here is read back by the harness with kcat.
'use strict'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, Partitioners, logLevel } = require('kafkajs')

// kafkajs brings gzip and leaves the others to modules. Those for lz4 and zstd need a compiler on the machine, or write
// what Kafka does not read.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const CODECS = [
  ['none', CompressionTypes.None],
  ['gzip', CompressionTypes.GZIP],
  ['snappy', CompressionTypes.Snappy],
]

const TOPICS = 3
const PARTITIONS = 12
const SLOTS = TOPICS * PARTITIONS
const TOTAL = Number(process.env.KLAMM_RECORDS)
const BOOTSTRAP = process.env.KLAMM_BOOTSTRAP
// Kafka answers a change before all of it shows, and shows partitions before they serve. Klamm must not.
const ANSWERS_EARLY = process.env.KLAMM_BROKER === 'kafka'
// How long Kafka gets, on a slow machine that is busy with other things.
const PATIENCE_MS = 60_000

const kafka = new Kafka({
  brokers: [BOOTSTRAP],
  logLevel: logLevel.NOTHING,
  connectionTimeout: 10_000,
  // The broker is away for a moment twice, and Kafka for a quarter of a minute.
  retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 100 },
})

let failed = false

/** One result: it is good when `work` does not throw. */
async function check(name, work) {
  try {
    await work()
    console.log(`ok ${name}`)
  } catch (error) {
    failed = true
    console.log(`not ok ${name}: ${String(error.stack).replace(/\s+/g, ' ')}`)
  }
}

function same(found, expected) {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)]
  if (one !== other) throw new Error(`${one}, not ${other}`)
}

async function withClient(client, work) {
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.disconnect()
  }
}

/** A record each with doubled headers, without a key, and without a value, by every codec; administration. */
async function features() {
  await withClient(kafka.admin(), async (admin) => {
    for (const [name, compression] of CODECS) await check(`codec ${name}`, () => produceSamples(admin, name, compression))
    await administer(admin)
    await check('two share in a group', () => share(admin))
    await check('a copy in transactions', () => copied(admin))
    await check('an old instance is shut out', () => shutOut(admin))
  })
}

/** Two members of a group read a topic together, each record once; what they have committed is there for the next. */
async function share(admin) {
  const [topic, partitions, records] = ['kafkajs-groups', 4, 50]
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions }] })
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
  const messages = Array.from({ length: partitions * records }, (_, n) => ({ partition: n % partitions, value: String(n) }))
  await withClient(producer, () => producer.send({ topic, messages, acks: -1 }))
  const read = new Map()
  const first = await member(topic, read)
  await until('the first has all', () => first.assigned === partitions)
  const second = await member(topic, read)
  await until('each has half', () => first.assigned === partitions / 2 && second.assigned === partitions / 2)
  await until('all is read', () => read.size === partitions * records)
  same([...read.values()].filter((times) => times !== 1), [])
  const { groups } = await admin.describeGroups([topic])
  same([groups[0].state, groups[0].members.length], ['Stable', 2])
  await first.consumer.disconnect()
  await second.consumer.disconnect()
  const [offsets] = await admin.fetchOffsets({ groupId: topic, topics: [topic] })
  same(offsets.partitions.map(({ offset }) => offset), Array.from({ length: partitions }, () => String(records)))
  const [deleted] = await admin.deleteGroups([topic])
  same(deleted.errorCode ?? 0, 0)
}

/** A member that commits each record before it is taken for read. */
async function member(topic, read) {
  const consumer = kafka.consumer({ groupId: topic, heartbeatInterval: 300, sessionTimeout: 10_000 })
  const member = { consumer, assigned: 0 }
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    member.assigned = (payload.memberAssignment[topic] ?? []).length
  })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      await consumer.commitOffsets([{ topic, partition, offset: String(BigInt(message.offset) + 1n) }])
      const place = `${partition}/${message.offset}`
      read.set(place, (read.get(place) ?? 0) + 1)
    },
  })
  return member
}

const COPIED = { partitions: 3, sends: 10, inOne: 5 }

/** Copies a topic in transactions with the offsets of what was copied; every third is aborted, and its records are read again. */
async function copied(admin) {
  const [source, target] = ['kafkajs-source', 'kafkajs-target']
  await admin.createTopics({ topics: [source, target].map((topic) => ({ topic, numPartitions: COPIED.partitions })) })
  await fill(source)
  const consumer = kafka.consumer({ groupId: target, maxBytesPerPartition: 1, heartbeatInterval: 300 })
  const producer = transactional(target)
  let [steps, done, failure] = [0, 0, null]
  const copy = async (batch) => {
    const transaction = await producer.transaction()
    const messages = batch.messages.map(({ value }) => ({ partition: batch.partition, value }))
    await sent(transaction, { topic: target, messages, acks: -1 })
    const offset = String(BigInt(batch.lastOffset()) + 1n)
    const topics = [{ topic: source, partitions: [{ partition: batch.partition, offset }] }]
    await transaction.sendOffsets({ consumerGroupId: target, topics })
    if (steps++ % 3 === 2) {
      await transaction.abort()
      return consumer.seek({ topic: source, partition: batch.partition, offset: batch.firstOffset() })
    }
    await transaction.commit()
    done += messages.length
  }
  await withClient(producer, () =>
    withClient(consumer, async () => {
      await consumer.subscribe({ topic: source, fromBeginning: true })
      const eachBatch = ({ batch }) => copy(batch).catch((error) => (failure ??= error))
      await consumer.run({ autoCommit: false, eachBatch })
      await until('all is copied', () => failure !== null || done >= COPIED.partitions * COPIED.sends * COPIED.inOne)
    }),
  )
  if (failure !== null) throw failure
  const each = Array.from({ length: COPIED.sends * COPIED.inOne }, (_, n) => String(n))
  same(await committed(target, COPIED.partitions * each.length), Array(COPIED.partitions).fill(each))
  const [offsets] = await admin.fetchOffsets({ groupId: target, topics: [source] })
  same(offsets.partitions.map(({ offset }) => offset), Array(COPIED.partitions).fill(String(each.length)))
}

/** Each send is a batch of its own, so that it can be copied by itself. */
async function fill(topic) {
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
  await withClient(producer, async () => {
    for (let send = 0; send < COPIED.sends; send++) {
      const messages = []
      for (let n = send * COPIED.inOne; n < (send + 1) * COPIED.inOne; n++) {
        for (let partition = 0; partition < COPIED.partitions; partition++) messages.push({ partition, value: String(n) })
      }
      await producer.send({ topic, messages, acks: -1 })
    }
  })
}

/** A second producer of a transactional id ends what the first one has begun, and the first one cannot go on. */
async function shutOut(admin) {
  const topic = 'kafkajs-fenced'
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] })
  const begin = async (producer, value) => {
    const transaction = await producer.transaction()
    await sent(transaction, { topic, messages: [{ partition: 0, value }], acks: -1 })
    return transaction
  }
  const [old, next] = [transactional(topic), transactional(topic)]
  await withClient(old, () =>
    withClient(next, async () => {
      const first = await begin(old, 'never')
      const second = await begin(next, 'once')
      const error = await first.commit().then(() => null, (error) => error.type)
      same(['PRODUCER_FENCED', 'INVALID_PRODUCER_EPOCH'].includes(error), true)
      await second.commit()
    }),
  )
  same(await committed(topic, 1), [['once']])
}

function transactional(transactionalId) {
  const createPartitioner = Partitioners.DefaultPartitioner
  return kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1, createPartitioner })
}

/** The first send of a transaction, which may come before the end of the one before is written: kafkajs does not wait for it. */
async function sent(transaction, records) {
  for (const limit = Date.now() + PATIENCE_MS; ; ) {
    try {
      return await transaction.send(records)
    } catch (error) {
      if (error.type !== 'CONCURRENT_TRANSACTIONS' || Date.now() > limit) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** The committed values of each partition of a topic, once there are so many and no more come. */
async function committed(topic, count) {
  const values = []
  let [total, last] = [0, Date.now()]
  const consumer = kafka.consumer({ groupId: `${topic}-reader`, maxWaitTimeInMs: 100 })
  await withClient(consumer, async () => {
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      eachMessage: async ({ partition, message }) => {
        ;(values[partition] ??= []).push(String(message.value))
        ;[total, last] = [total + 1, Date.now()]
      },
    })
    await until('all is read', () => total >= count && Date.now() - last > 500)
  })
  return values
}

async function until(what, isSo) {
  for (const limit = Date.now() + PATIENCE_MS; !isSo(); ) {
    if (Date.now() > limit) throw new Error(`not so within a minute: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function produceSamples(admin, name, compression) {
  const topic = `kafkajs-${name}`
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] })
  const messages = [
    { partition: 0, key: 'key', value: 'value', headers: { a: ['1', '2'] } },
    { partition: 0, key: null, value: 'x'.repeat(900_000) },
    { partition: 0, key: 'gone', value: null },
  ]
  const producer = kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner })
  await withClient(producer, async () => {
    const [sent] = await producer.send({ topic, messages, compression, acks: -1 })
    same([sent.errorCode, sent.baseOffset], [0, '0'])
  })
}

async function administer(admin) {
  const topic = 'kafkajs-admin'
  await check('create a topic', async () => {
    const configEntries = [{ name: 'retention.ms', value: '3600000' }]
    same(await admin.createTopics({ topics: [{ topic, numPartitions: 3, configEntries }] }), true)
    await settled(async () => (await admin.listTopics()).includes(topic), true)
    const leaders = async () => {
      const metadata = await admin.fetchTopicMetadata({ topics: [topic] })
      return metadata.topics[0].partitions.map((partition) => partition.leader)
    }
    await settled(leaders, [1, 1, 1])
  })
  await check('add partitions', async () => {
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
    await settled(async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length, 5)
  })
  await check('configs', async () => {
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
    const read = async () => {
      const found = await admin.describeConfigs({ resources: [{ ...resource, configNames: ['retention.ms'] }] })
      return found.resources[0].configEntries[0].configValue
    }
    await settled(read, '3600000')
    const configEntries = [{ name: 'retention.ms', value: '7200000' }]
    await admin.alterConfigs({ resources: [{ ...resource, configEntries }] })
    await settled(read, '7200000')
  })
  await check('offsets and deleted records', async () => {
    const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
    const messages = Array.from({ length: 10 }, (_, n) => ({ partition: 0, value: String(n) }))
    await withClient(producer, () => producer.send({ topic, messages, acks: -1 }))
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
    const bounds = async () => {
      const offsets = await admin.fetchTopicOffsets(topic)
      const first = offsets.find((offsets) => offsets.partition === 0)
      return [first.low, first.high]
    }
    await settled(bounds, ['4', '10'])
    const later = async () => {
      const offsets = await admin.fetchTopicOffsetsByTimestamp(topic, Date.now() + 3_600_000)
      return offsets.map(({ partition, offset }) => [partition, offset]).sort()
    }
    await settled(later, [[0, '10'], [1, '0'], [2, '0'], [3, '0'], [4, '0']])
  })
  await check('delete a topic', async () => {
    await admin.deleteTopics({ topics: [topic] })
    await settled(async () => (await admin.listTopics()).includes(topic), false)
  })
  await check('describe the cluster', async () => {
    const { brokers } = await admin.describeCluster()
    same(brokers.map(({ host, port }) => `${host}:${port}`), [BOOTSTRAP])
  })
}

/** What shows after a change must be as expected: at once, of a broker that does not answer early. */
async function settled(read, expected) {
  for (const limit = Date.now() + PATIENCE_MS; ANSWERS_EARLY && Date.now() < limit; ) {
    try {
      return same(await read(), expected)
    } catch (error) {
      console.log(`not yet: ${error.message}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  same(await read(), expected)
}

const TEXT = Array.from({ length: 1200 }, (_, i) => String.fromCharCode(33 + ((i * i * 7 + i * 13) % 90))).join('')

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  return crc
})

function crc32(text) {
  let crc = 0xffffffff
  for (let i = 0; i < text.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ text.charCodeAt(i)) & 255]
  return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0')
}

function count(slot) {
  return Math.floor(TOTAL / SLOTS) + (slot < TOTAL % SLOTS ? 1 : 0)
}

function record(slot, sequence) {
  const [topic, partition] = [Math.floor(slot / PARTITIONS), slot % PARTITIONS]
  const start = (sequence * 31 + partition * 7) % 997
  const body = TEXT.slice(start, start + 40 + (sequence % 120))
  const value = `${topic}:${partition}:${sequence}:${crc32(body)}:${body}`
  return { partition, key: `${topic}-${partition}-${sequence}`, value }
}

/** The records of ../README.md over 3 topics of 12 partitions while the broker is killed; a codec per producer. */
async function million() {
  const topics = Array.from({ length: TOPICS }, (_, topic) => `million-kafkajs-${topic}`)
  await withClient(kafka.admin(), (admin) =>
    admin.createTopics({ topics: topics.map((topic) => ({ topic, numPartitions: PARTITIONS })) }),
  )
  await check('produce', async () => {
    let [done, shown] = [0, 0]
    const delivered = (records) => {
      done += records
      if (done - shown >= 2000) console.log(`progress ${(shown = done)} ${TOTAL}`)
    }
    await Promise.all(CODECS.map(([, compression], share) => produceShare(topics, compression, share, delivered)))
    same(done, TOTAL)
  })
}

/** Sends the slots of one codec, a batch of some records of each of them at a time. */
async function produceShare(topics, compression, share, delivered) {
  const STEP = 100
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: Partitioners.DefaultPartitioner,
  })
  const slots = Array.from({ length: SLOTS }, (_, slot) => slot).filter((slot) => slot % CODECS.length === share)
  await withClient(producer, async () => {
    for (let from = 0; from < count(0); from += STEP) {
      const messages = topics.map(() => [])
      for (const slot of slots) {
        const to = Math.min(from + STEP, count(slot))
        for (let sequence = from; sequence < to; sequence++) {
          messages[Math.floor(slot / PARTITIONS)].push(record(slot, sequence))
        }
      }
      const topicMessages = topics.map((topic, index) => ({ topic, messages: messages[index] }))
      await producer.sendBatch({ topicMessages, compression, acks: -1 })
      delivered(messages.reduce((sum, list) => sum + list.length, 0))
    }
  })
}

async function main() {
  await { features, million }[process.env.KLAMM_SCENARIO]()
  process.exit(failed ? 1 : 0)
}

main()
